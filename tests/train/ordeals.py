"""Runs of the command that are killed, and runs with damaged files: what becomes of them.

A script, because each command runs in a process forked from one that has loaded all libraries:

    python ordeals.py kills FOLDER COUNT        python ordeals.py damage FOLDER COUNT

prints one JSON object: the number of cases, and a line for each that ended badly. A moment is the opening of
a file for writing, a renaming, a removal or an fsync within the run folder; at every other one the file that
was opened last is cut to half before the kill.
"""

import contextlib
import csv
import json
import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path

import matplotlib.figure
import safetensors.torch
from safetensors.torch import load_file

from geocnn.cli import main
from geocnn.data import bodies as body_data
from geocnn.data.bodies import Body
from geocnn.geometry.spheres.icosahedron import Icosahedron
from geocnn.train import callbacks, module
from geocnn.train.recipes import body_parts

RECIPES = {
    "spherical-digits": [
        "--train-size=32", "--val-size=8", "--test-size=8", "--nside=2", "--epochs=3", "--batch-size=8",
        "--check-every=4", "--radius=2", "--widths=2x0 + 2x1, 4x0", "--convs=0,1", "--no-rotated",
        "--baseline", "--dropout=0.2", "--stretch=0.1", "--devices=cpu",
    ],
    "body-parts": [
        "--train-size=2", "--val-size=1", "--test-size=2", "--epochs=4", "--check-every=2", "--patience=1",
        "--widths=2x0 + 2x1, 4x0", "--convs=1,0", "--radius=0.3", "--devices=cpu", "--processes=1",
    ],
}  # fmt: skip

LONGEST = 120
"""Seconds of work that a command may take; it takes about three."""


def eggs(split):
    ball = Icosahedron(2)
    stretches = {"train": (1.5, 1.8), "val": (1.6,), "test": (1.4, 2.0)}[split]
    labels = ((ball.points[:, 1] + 1) * 4).long().clamp(max=7)
    return [
        Body(ball.points * ball.points.new_tensor([1, s, 1.1]), ball.faces[-1], labels, 0, "rest")
        for s in stretches
    ]


class Moments:
    """Counts moments of writing in a folder; kills this process at one of them."""

    def __init__(self, folder, kill_at, tear):
        self.folder, self.kill_at, self.tear = str(folder), kill_at, tear
        self.count, self.last, self.names = 0, None, []
        sys.addaudithook(self.audit)
        fsync, save_file = os.fsync, safetensors.torch.save_file

        def synced(descriptor):
            self.reach("fsync", self.last)
            return fsync(descriptor)

        def saved(state, file, *args, **options):
            self.reach("open", file)
            save_file(state, file, *args, **options)
            self.last = file
            self.reach("written", file)

        os.fsync, safetensors.torch.save_file = synced, saved

    def audit(self, event, args):
        if event == "open" and isinstance(args[0], str) and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            self.reach("open", args[0])
            self.last = args[0]
        elif event in ("os.rename", "os.remove", "os.mkdir"):
            self.reach(event, args[1] if event == "os.rename" else args[0])

    def reach(self, event, path):
        if path is None or not str(path).startswith(self.folder):
            return
        self.count += 1
        self.names.append(f"{event} {str(path)[len(self.folder) :]}")
        if self.count == self.kill_at:
            self.kill_at = None
            if self.tear and self.last and os.path.exists(self.last):
                os.truncate(self.last, os.path.getsize(self.last) // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def command(arguments, folder, kill_at=None, tear=False):
    """(exit code or minus the signal, what was said, the moments) of a command in a process of its own."""
    log, names = folder.with_suffix(".log"), folder.with_suffix(".moments")
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
        with log.open("w") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
            moments, code = Moments(folder, kill_at, tear), 70
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = ended.code or 0
            except BaseException:
                import traceback

                traceback.print_exc()
            sys.stdout.flush()
            names.write_text("\n".join(moments.names))
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, log.read_text(), names.read_text().splitlines() if names.exists() else []


def outcome(folder):
    """All that a run found, but for times."""
    results = json.loads((folder / "results.json").read_text())
    networks = {
        name: {key: value for key, value in found.items() if key != "seconds"}
        for name, found in results["networks"].items()
    }
    with (folder / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    weights = {
        str(file.relative_to(folder)): {name: tensor.tolist() for name, tensor in load_file(file).items()}
        for file in sorted(folder.glob("**/model.safetensors"))
    }
    return results["accuracy"], networks, rows, weights


def train(recipe, folder):
    return ["train", recipe, "--run", folder, *RECIPES[recipe]]


def resumed(recipe, folder, expected):
    """What is wrong with a run when it was resumed, or ""."""
    code, said, _ = command(["train", recipe, "--run", folder, "--resume"], folder)
    if code == 2 and "no run to resume" in said:
        code, said, _ = command(train(recipe, folder), folder)
    if code != 0:
        return f"exit {code}: {said[-300:]}"
    return "" if outcome(folder) == expected else "ended otherwise"


def kills(home, count):
    cases, bad = 0, []
    for recipe, share in (("spherical-digits", 0.7), ("body-parts", 0.3)):
        straight = home / f"{recipe}-straight"
        code, said, moments = command(train(recipe, straight), straight)
        assert code == 0, said
        expected, n = outcome(straight), len(moments)
        wanted = min(2 * n, max(2, round(share * count)))
        for k in range(wanted):
            # evenly over the moments; when all had their turn, once more, torn
            at, tear = (1 + k * n // wanted, k % 2 == 1) if wanted < n else (1 + k % n, k >= n)
            folder = home / f"{recipe}-{k}"
            print(f"{recipe}: {k} of {wanted}, {len(bad)} bad", flush=True)
            code, said, _ = command(train(recipe, folder), folder, at, tear)
            where = f"{recipe}, moment {at} of {n} ({moments[at - 1]}){', torn' if tear else ''}"
            fault = resumed(recipe, folder, expected) if code == -signal.SIGKILL else f"not killed: {code}"
            cases += 1
            if fault:
                bad.append(f"{where}: {fault}")
            shutil.rmtree(folder, ignore_errors=True)
    return {"cases": cases, "bad": bad}


# ----------------------------------------------------------------------------------------------------- damage


def damages(content, is_json, draw):
    """Names and damaged contents of a file."""
    yield "empty", b""
    yield from ((text, text.encode()) for text in ("{}", "[]", "null", "[[[[" * 5000))
    for _ in range(3):
        yield "cut", content[: draw.randrange(len(content))]
    for _ in range(8):
        flipped = bytearray(content)
        at = draw.randrange(len(content))
        flipped[at] ^= 1 << draw.randrange(8)
        yield f"bit of byte {at} flipped", bytes(flipped)
    zeroed = bytearray(content)
    at = draw.randrange(len(content))
    zeroed[at : at + 64] = bytes(len(zeroed[at : at + 64]))
    yield f"zeros at {at}", bytes(zeroed)
    if is_json:
        value = json.loads(content)
        for name, wrong in [(name, wrong) for name in value for wrong in (None, [], {}, "x", -1)]:
            yield f"{name} = {wrong}", json.dumps({**value, name: wrong}).encode()
            bare = {key: v for key, v in value.items() if key != "sha256"}
            yield f"{name} = {wrong}, no checksum", json.dumps({**bare, name: wrong}).encode()


def answers(folder, home):
    code, said, _ = command(["predict", folder, "--digits", 2, "--out", home / "out"], home / "predicted")
    table = home / "out" / "digits-predictions.csv"
    text = table.read_text() if code == 0 else ""
    shutil.rmtree(home / "out", ignore_errors=True)
    return code, said, text


def damage(home, count):
    """The right answer, or exit code 2 and one line: nothing else, for predict and for --resume."""
    recipe, draw = "spherical-digits", random.Random(0)
    done, part = home / "done", home / "part"
    code, said, moments = command(train(recipe, done), done)
    assert code == 0, said
    expected, (_, _, right) = outcome(done), answers(done, home)
    # killed in the second training, with two checkpoints of it
    at = max(k for k, name in enumerate(moments, 1) if name == "os.rename /planar/previous.ckpt")
    command(train(recipe, part), part, at)
    files = {
        done: ["model.json", "model.safetensors", "settings.json"]
        + [f"nr/{name}" for name in ("training.json", "metrics.csv", "model.json", "model.safetensors")]
        + ["nr/last.ckpt"],
        part: [
            "settings.json",
            "planar/last.ckpt",
            "nr/last.ckpt",
            "nr/best.safetensors",
            "nr/training.json",
        ],
    }
    every = []
    for base, name in [(base, name) for base, names in files.items() for name in names]:
        content = (base / name).read_bytes()
        every += [(base, name, *case) for case in damages(content, name.endswith("json"), draw)]
    chosen = every if count >= len(every) else draw.sample(every, count)
    bad, refused = [], 0
    for number, (base, name, what, content) in enumerate(chosen):
        print(f"{number} of {len(chosen)}, {len(bad)} bad: {base.name}/{name}, {what[:60]}", flush=True)
        folder = shutil.copytree(base, home / "case")
        (folder / name).write_bytes(content)
        where = f"{base.name}/{name}, {what[:60]}"
        if "/" not in name and name != "settings.json":
            code, said, found = answers(folder, home)
            if not (code == 0 and found == right) and not one_line(code, said):
                bad.append(f"predict {where}: exit {code}: {said[-300:]}")
        code, said, _ = command(["train", recipe, "--run", folder, "--resume"], folder)
        refused += code == 2
        if code == 0 and outcome(folder) != expected:
            bad.append(f"resume {where}: ended otherwise")
        if code != 0 and not one_line(code, said):
            bad.append(f"resume {where}: exit {code}: {said[-300:]}")
        shutil.rmtree(folder)
    return {"cases": len(chosen), "refused": refused, "bad": bad}


def one_line(code, said):
    return code == 2 and said.splitlines()[-1].startswith("Error: ") and "Traceback" not in said


def small_picture(figure, file, **_):
    Path(file).write_bytes(b"a picture takes a second")


if __name__ == "__main__":
    assert callbacks and module  # Lightning is loaded
    matplotlib.figure.Figure.savefig = small_picture
    body_parts.bodies = body_data.bodies = eggs
    what, home, count = sys.argv[1], Path(sys.argv[2]).resolve(), int(sys.argv[3])
    home.mkdir(parents=True, exist_ok=True)
    os.environ["GEOCNN_CACHE"] = str(home / "cache")
    with contextlib.redirect_stdout(sys.stderr):
        found = {"kills": kills, "damage": damage}[what](home, count)
    print(json.dumps(found))
