#!/usr/bin/env bash
# One experiment from its texts to its report and its files in results/: experiments/run.sh NAME; `make demo` first, for the set-up.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
params="experiments/$1/params.yaml"
case $1 in
  clinc150*) python experiments/clinc150/texts.py ;;
  news-en-zh*) python experiments/news-en-zh/build.py ;;
esac
muki-pipeline prepare --params "$params"
for teacher in $(python -c "import sys, yaml; print(*yaml.safe_load(open(sys.argv[1]))['teachers'])" "$params"); do
  if python -c "import sys, yaml; sys.exit('train_teacher' not in yaml.safe_load(open(sys.argv[1])))" "$params"; then
    muki-pipeline train-teacher --teacher "$teacher" --params "$params"
  fi
  muki-pipeline label --teacher "$teacher" --params "$params"
done
muki-pipeline embed --params "$params"
muki-pipeline integrate --params "$params"
muki-pipeline train-student --params "$params"
muki-pipeline evaluate --params "$params"
muki-pipeline compare --params "$params"
muki-pipeline report --params "$params"
muki-pipeline results --params "$params"
python -m experiments.record "$1"
