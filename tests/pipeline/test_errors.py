import pickle

from muki_pipeline.errors import MukiError


def test_an_error_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MukiError("is odd", where="row 3", fix="Make it even")))
    assert isinstance(error, MukiError)
    assert (error.what, error.where, error.fix) == ("is odd", "row 3", "Make it even")
    assert str(error) == "row 3: is odd. Make it even."


def test_a_message_is_one_line_that_keeps_the_blanks_of_values() -> None:
    error = MukiError("holds 'lost  card',\n\t not\r\n'lost card'", where="a  b.csv", fix="\nCorrect it")
    assert str(error) == "a  b.csv: holds 'lost  card', not 'lost card'. Correct it."
