"""Projects: `project ls`, `project create`, `project show`, `project edit`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelkeep.cli import values
from modelkeep.cli.call import Call, command
from modelkeep.cli.output import shown_when

Name = Annotated[str, typer.Argument(help="The project.", show_default=False)]
Description = Annotated[str, typer.Option(help="What the project is about, in Markdown.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    noun = typer.Typer(help="Look at projects; logging makes a missing one.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name="project")
    for function in (ls, create, show, edit):
        command(noun, function.__name__)(function)


def ls(call: Call) -> None:
    """List the projects of the team."""
    columns = {
        "PROJECT": lambda p: p.name,
        "CREATED": lambda p: shown_when(p.create_time),
        "DESCRIPTION": lambda p: values.first_line(p.description),
    }
    call.out.table(call.api.projects(), values.project_json, columns, empty="no projects yet")


def create(call: Call, name: Name, description: Description = "") -> None:
    """Make a project beforehand."""
    project = call.api.create_project(name, description=description)
    call.out.answer(values.project_json(project), f"{project.name} created")


def show(call: Call, name: Name) -> None:
    """Show a project."""
    project = call.api.project(name)
    call.out.details(values.project_json(project), values.project_details(project))


def edit(
    call: Call, name: Name, description: Annotated[str, typer.Option(help="What it is about.", show_default=False)]
) -> None:
    """Edit the description of a project."""
    project = call.api.edit_project(name, description=description)
    call.out.answer(values.project_json(project), f"{project.name} edited")
