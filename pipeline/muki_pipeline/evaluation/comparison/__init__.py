"""Which rule makes the best student: rules, their students, and which differences exceed chance."""
