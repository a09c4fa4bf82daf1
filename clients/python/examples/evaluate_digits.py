"""Evaluate the best model on what was held out: a run that uses both, and produces predictions and a metrics file.

python evaluate_digits.py --noise 0.2        with a server running that has `digits:best` (see train_digits.py)
"""

import argparse

import modelkeep
from digits import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate the best model, on clean or on noisy images.")
    parser.add_argument("--noise", type=float, default=0.0)
    noise = parser.parse_args().noise

    with modelkeep.init(project="digits", job_type="evaluate", config={"noise": noise}) as run:
        model, held_out = run.use_artifact("digits:best"), run.use_artifact("digits-data:latest")
        measured = evaluate(run, model, held_out, noise)
    print(f"  {model.name} on {held_out.name} with noise {noise}: accuracy {measured:.4f}")


if __name__ == "__main__":
    main()
