"""`refkd share`: how many trials one machine or GPU carries."""

from __future__ import annotations

from tune.cli.options import AddressOption, JsonOption, StudyArgument
from tune.cli.output import Output, printed


@printed
def share(
    study: StudyArgument, address: AddressOption = None, as_json: JsonOption = False
) -> Output:
    """Measure how many trials fit on a GPU, or on a machine without, and change nothing.

    Trains the largest of some students of the space for a few steps, on a whole GPU where there
    is one, and looks at its memory and at the time in which the GPU computes.

    Example: `refkd share studies/quickstart.yaml`
    """
    from tune.config.study_file import load_study_file
    from tune.display.console import make_console
    from tune.display.cost import show_share
    from tune.execution.capacity import measure
    from tune.execution.cluster import ray_session
    from tune.execution.machines import machines_coming, machines_there
    from tune.execution.progress import Silent, reporter
    from tune.launch import open_dataset

    file = load_study_file(study)
    with Silent() if as_json else reporter(make_console()) as told:
        open_dataset(file, told)
    with ray_session(file.resources.model_copy(update={"gpu": 0.0}), address=address):
        coming = [] if address is None else machines_coming()
        found = measure(file, [*machines_there(), *coming])
    return Output(value=found, show=lambda console: show_share(console, found))
