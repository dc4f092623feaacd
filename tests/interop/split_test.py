"""Split files: halftone cuts GGUF files where llama-gguf-split does, to the byte, and transformers
opens the folders that it cuts, as halftone does those of transformers.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import peers
import safetensors.torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]


def llama_folder():
    if "PEER_BIN" in os.environ:
        return pathlib.Path(os.environ["PEER_BIN"])
    build = subprocess.run([ROOT / "bench" / "peers" / "build"], check=True, text=True,
                           stdout=subprocess.PIPE)
    return pathlib.Path(build.stdout.strip())


def weights(folder):
    state = {}
    for path in sorted(folder.glob("*.safetensors")):
        state.update(safetensors.torch.load_file(path))
    return state


class SplitTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.model = cls.folder / "model"
        peers.make_model(cls.model)
        cls.whole = cls.folder / "whole.gguf"
        peers.halftone("convert", cls.model, "-o", cls.whole)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_gguf_parts_are_those_of_llama_gguf_split(self):
        program = llama_folder() / "llama-gguf-split"

        def llama(*arguments):
            subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)

        for megabytes in (1, 2):
            theirs, ours = self.folder / f"theirs{megabytes}", self.folder / f"ours{megabytes}"
            theirs.mkdir()
            ours.mkdir()
            llama("--split", "--split-max-size", f"{megabytes}M", self.whole, theirs / "m")
            peers.halftone("convert", self.whole, "-o", ours / "m.gguf", "--split-max-size",
                           f"{megabytes}MB")
            names = sorted(path.name for path in theirs.iterdir())
            self.assertEqual(names, sorted(path.name for path in ours.iterdir()))
            self.assertGreater(len(names), 1)
            for name in names:
                self.assertEqual((theirs / name).read_bytes(), (ours / name).read_bytes(), name)
            # And back: what each makes of the parts holds what was there before.
            again, merged = self.folder / "again.gguf", self.folder / f"merged{megabytes}.gguf"
            peers.halftone("convert", ours / names[0], "-o", again)
            self.assertEqual(again.read_bytes(), self.whole.read_bytes())
            llama("--merge", ours / names[0], merged)
            peers.halftone("convert", merged, "-o", again)
            self.assertEqual(again.stat().st_size, self.whole.stat().st_size)

    def test_transformers_opens_folders_in_parts(self):
        before = weights(self.model)
        for size in ("500kB", "1MB"):
            folder = self.folder / f"folder{size}"
            peers.halftone("convert", self.whole, "-o", folder, "--container", "safetensors",
                           "--split-max-size", size)
            index = json.loads((folder / "model.safetensors.index.json").read_text())
            files = sorted(set(index["weight_map"].values()))
            self.assertGreater(len(files), 1)
            self.assertEqual(files, sorted(p.name for p in folder.glob("*.safetensors")))
            self.assertEqual(index["metadata"]["total_size"],
                             sum(t.numel() * t.element_size() for t in weights(folder).values()))
            loaded = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()
            for name, tensor in before.items():
                self.assertTrue((loaded[name] == tensor).all(), name)

    def test_folders_that_transformers_cut_are_read(self):
        folder = self.folder / "theirs"
        model = transformers.AutoModelForCausalLM.from_pretrained(self.model)
        model.save_pretrained(folder, max_shard_size="500KB")
        transformers.AutoTokenizer.from_pretrained(self.model).save_pretrained(folder)
        self.assertGreater(len(list(folder.glob("*.safetensors"))), 1)
        again = self.folder / "from_parts"
        peers.halftone("convert", folder, "-o", again, "--container", "safetensors")
        after = weights(again)
        before = weights(folder)
        self.assertEqual(set(after), set(before))
        for name, tensor in before.items():
            self.assertTrue((after[name] == tensor).all(), name)


if __name__ == "__main__":
    unittest.main()
