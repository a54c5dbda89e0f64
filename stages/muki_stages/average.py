"""Command `average`: the teachers' average, for the student to start from."""

from pathlib import Path
from typing import Annotated, Any

import typer

from muki_pipeline import config
from muki_pipeline.errors import MukiError
from muki_pipeline.labels.space import unite
from muki_pipeline.models.averaging import average
from muki_pipeline.models.teachers import locate
from muki_pipeline.store.files import write_json
from muki_pipeline.store.folders import check_replaceable, replacing_folder
from muki_stages.options import PARAMS, ParamsFile
from muki_stages.terminal import quiet_libraries, say

_FACTS = "average.json"
"""Which teachers a folder is the average of."""


def main(
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")], params_file: ParamsFile = PARAMS
) -> dict[str, Any]:
    """Average teachers that share a pretrained model into one classifier, for the student to start from."""
    quiet_libraries()
    params, layout = config.load(params_file)
    if files := params.teachers.keys() - params.networks.keys():
        what = f"teachers {sorted(files)} are files of answers, which have no weights"
        raise MukiError(what, where=str(params_file), fix="Leave them out of the average's params.yaml")
    teachers = [locate(name, teacher, layout.root) for name, teacher in params.networks.items()]
    space = unite({files.name: files.labels for files in teachers}, params.integrate.aliases)
    columns = [each.tolist() for each in space.columns]
    check_replaceable(out, _FACTS, "an earlier average")
    model, tokenizer = average(teachers, space.labels, columns, params.student.layers)
    with replacing_folder(out) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(str(unfinished))
        write_json(unfinished / _FACTS, {"teachers": {files.name: files.digest for files in teachers}})
    say(f"{out}: the average of {len(teachers)} teachers, {len(space.labels)} labels. Name it as student.model")
    say("and name the pretrained model as embed.model: embeddings must come from a model that is none of the teachers")
    return {"folder": str(out), "labels": list(space.labels)}
