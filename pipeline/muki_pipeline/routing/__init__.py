"""The posterior of each teacher for each text, from several views of it and without any label."""
