"""The cache of the hub: huggingface_hub finds what halftone fetched, and the other way round.

Both fetch from a small server on this machine that answers as the hub does, so that each is also a
check of that server: what one of them takes for a hub, the tests of the other may.
"""

import hashlib
import http.server
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": (b'{"model_type": "llama"}', False),
    "tokenizer.json": (b"{}" * 5000, False),
    "model.safetensors": (os.urandom(3_000_001), True),
    "gguf/tiny-Q8_0.gguf": (os.urandom(100_000), True),
}


def etag(name):
    content, large = FILES[name]
    if large:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def tree_entry(name):
    content, large = FILES[name]
    entry = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
    if large:
        entry["lfs"] = {"oid": etag(name), "size": len(content), "pointerSize": 134}
    else:
        entry["oid"] = etag(name)
    return entry


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, headers, content=b""):
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if status == 200 and span:
            first = int(span[1])
            last = min(int(span[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[first:last + 1]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith("/cdn/"):
            return self.reply(200, {}, FILES[path[5:]][0])
        if path.startswith("/api/models/org/model/tree/"):
            tree = [tree_entry(name) for name in FILES]
            return self.reply(200, {"Content-Type": "application/json"}, json.dumps(tree).encode())
        if path.startswith("/api/models/org/model"):
            listing = {"id": "org/model", "sha": COMMIT, "private": False, "gated": False,
                       "siblings": [{"rfilename": name} for name in FILES]}
            return self.reply(200, {"Content-Type": "application/json"},
                              json.dumps(listing).encode())
        found = re.fullmatch(r"/org/model/resolve/(?:main|%s)/(.*)" % COMMIT, path)
        if not found or found[1] not in FILES:
            return self.reply(404, {"X-Error-Code": "EntryNotFound"})
        name = found[1]
        content, large = FILES[name]
        headers = {"X-Repo-Commit": COMMIT}
        if not large:
            return self.reply(200, headers | {"ETag": f'"{etag(name)}"'}, content)
        port = self.server.server_address[1]
        return self.reply(302, headers | {"X-Linked-Etag": f'"{etag(name)}"',
                                          "X-Linked-Size": str(len(content)),
                                          "Location": f"http://localhost:{port}/cdn/{name}"})

    do_HEAD = do_GET


class HubTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.folder = tempfile.TemporaryDirectory()
        # huggingface_hub reads the environment when it is imported.
        os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{cls.server.server_address[1]}"
        os.environ["HF_HOME"] = cls.folder.name
        os.environ["HF_HUB_OFFLINE"] = "0"
        os.environ["HF_HUB_DISABLE_XET"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        os.environ.pop("HF_TOKEN", None)

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.folder.cleanup()

    def pull(self, model, cache, offline=False):
        environment = os.environ | {"HF_HUB_CACHE": str(cache),
                                    "HF_HUB_OFFLINE": "1" if offline else "0"}
        done = subprocess.run([os.environ["HALFTONE"], "pull", model, "--json"], check=True,
                              env=environment, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def test_huggingface_hub_finds_what_halftone_fetched(self):
        import huggingface_hub
        cache = pathlib.Path(self.folder.name) / "ours"
        self.pull("org/model", cache)
        self.pull("org/model:Q8_0", cache)
        for name, (content, _) in FILES.items():
            path = huggingface_hub.try_to_load_from_cache("org/model", name, cache_dir=cache)
            self.assertIsInstance(path, str, name)
            self.assertEqual(pathlib.Path(path).read_bytes(), content)
        snapshot = huggingface_hub.snapshot_download("org/model", cache_dir=cache,
                                                     local_files_only=True)
        self.assertEqual(pathlib.Path(snapshot).name, COMMIT)
        info = huggingface_hub.scan_cache_dir(cache)
        self.assertEqual(list(info.warnings), [])
        (repo,) = info.repos
        self.assertEqual((repo.repo_id, repo.repo_type), ("org/model", "model"))
        self.assertEqual(repo.size_on_disk, sum(len(content) for content, _ in FILES.values()))
        (revision,) = repo.revisions
        self.assertEqual((revision.commit_hash, set(revision.refs)), (COMMIT, {"main"}))
        self.assertEqual(len(revision.files), len(FILES))
        # Nothing of it is fetched again.
        before = {path: path.stat().st_mtime_ns for path in cache.glob("*/blobs/*")}
        huggingface_hub.snapshot_download("org/model", cache_dir=cache)
        after = {path: path.stat().st_mtime_ns for path in cache.glob("*/blobs/*")}
        self.assertEqual(before, after)

    def test_halftone_finds_what_huggingface_hub_fetched(self):
        import huggingface_hub
        cache = pathlib.Path(self.folder.name) / "theirs"
        snapshot = huggingface_hub.snapshot_download("org/model", cache_dir=cache)
        for offline in (False, True):
            report = self.pull("org/model", cache, offline)
            self.assertEqual(report["path"], snapshot)
            self.assertEqual(report["fetched_bytes"], 0)
            self.assertEqual(report["commit"], COMMIT)
        report = self.pull("org/model:Q8_0", cache, offline=True)
        self.assertEqual(pathlib.Path(report["path"]).read_bytes(),
                         FILES["gguf/tiny-Q8_0.gguf"][0])
        blobs = {path.name for path in cache.glob("*/blobs/*")}
        self.assertEqual(blobs, {etag(name) for name in FILES})


if __name__ == "__main__":
    unittest.main()
