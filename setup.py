"""What pyproject.toml cannot say: the wheel carries the data sets of `datasets/` inside the package.

An editable install reads them where they lie. `geocnn.data.store` knows both places.
"""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATASETS = Path("datasets")
PLACE = Path("geocnn", "_datasets")


class BuildWithDatasets(build_py):
    """Copy each data set's card, the files that the card lists, and what made them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self.data_copies():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def data_copies(self) -> list[tuple[Path, Path]]:
        """Return the pairs (file, its copy in the built package)."""
        copies = []
        for card in sorted(DATASETS.glob("*/dataset.toml")):
            with card.open("rb") as stream:
                listed = [card.parent / entry["path"] for entry in tomllib.load(stream)["files"]]
            files = [card, *listed, *card.parent.glob("make.*")]
            copies += [(file, Path(self.build_lib) / PLACE / file.relative_to(DATASETS)) for file in files]
        return copies

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copies = [] if self.editable_mode else [str(target) for _, target in self.data_copies()]
        return [*super().get_outputs(include_bytecode), *copies]


setup(cmdclass={"build_py": BuildWithDatasets})
