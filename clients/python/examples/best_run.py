"""Find the best run by a metric, download the best model that it made, and name the data behind it.

python best_run.py accuracy model        with a server running that has runs (see train_digits.py)
"""

import sys

import modelkeep


def main(metric: str = "accuracy", folder: str = "best-model") -> None:
    api = modelkeep.Api(project="digits")
    run = api.best_run(metric, filter="job_type = train")
    print(f"the best of the training runs is {run.name}: {metric} {run.best_value:.4f}, with {run.config}")

    made = {link.node.resource_name for link in run.produced(type="model")}  # also what another run had made before it
    best_first = api.versions("digits", order=f"-metadata.{metric}")
    model = next((version for version in best_first if version.resource_name in made), None)
    if model is None:
        sys.exit("it made no model that is still there")
    print(f"its best model is {model.name}, in {model.download(folder)}")

    for data in api.sources(model, type="dataset"):
        print(f"it was made from {data.name}, {data.digest}")


if __name__ == "__main__":
    main(*sys.argv[1:])
