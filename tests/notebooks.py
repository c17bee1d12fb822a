"""Notebooks, and what they print."""

import nbformat


def printed(notebook: nbformat.NotebookNode) -> str:
    """Return what the cells of a notebook that was run wrote to standard output."""
    return "".join(
        output.text
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def is_without_outputs(notebook: nbformat.NotebookNode) -> bool:
    """Say whether a notebook has code, and none of it was run."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return bool(cells) and all(not c.outputs and c.execution_count is None for c in cells)
