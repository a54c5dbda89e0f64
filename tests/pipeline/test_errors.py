import pickle

from muki_pipeline.errors import MukiError


def test_an_error_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MukiError("is odd", where="row 3", fix="Make it even")))
    assert isinstance(error, MukiError)
    assert (error.what, error.where, error.fix) == ("is odd", "row 3", "Make it even")
    assert str(error) == "row 3: is odd. Make it even."
