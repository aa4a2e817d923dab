"""A stand-in for vLLM's server: its log lines, its paths and its counts, with one thing wrong where `FAKE` says which.

It starts a child in its group, as the real one does, which outlives it unless the group is ended.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

TOKEN_S = 0.003
LINE_S = 0.05
LINES = (
    "(APIServer pid=1) INFO 11-21 11:27:15 [api_utils.py:286] non-default args: {}",
    "(APIServer pid=1) INFO 11-21 11:27:15 [model.py:2152] Using max model len 1024",
    "(EngineCore pid=2) INFO 11-21 11:27:28 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: m",
    "(Worker pid=3) INFO 11-21 11:27:41 [cpu_model_runner.py:68] Starting to load model m...",
    "Loading safetensors checkpoint shards:  50% Completed | 1/2\rLoading safetensors: 100% Completed",
    "(Worker pid=3) INFO 11-21 11:27:41 [default_loader.py:501] Loading weights took 0.27 seconds",
    "(EngineCore pid=2) INFO 11-21 11:27:42 [kv_cache_utils.py:2327] CPU KV cache size: 1,600 tokens",
    "(EngineCore pid=2) INFO 11-21 11:27:43 [core.py:402] init engine (profile, create kv cache, warmup) took 1 s",
)
FAKE = os.environ.get("FAKE", "")
FIRST_STREAM, LONGEST_STREAM = 32, 512
OTHERS = int(FAKE == "busy")
lock, counts = Lock(), {"num_requests_running": OTHERS, "num_requests_waiting": 0, "generation_tokens_total": 0}


def count(name: str, by: int) -> None:
    with lock:
        counts[name] += by


class Handler(BaseHTTPRequestHandler):
    def send(self, code: int, body) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if FAKE == "key" and self.path.startswith("/v1") and self.headers["Authorization"] != "Bearer sk-tested":
            self.send(401, {"error": "Unauthorized"})
        elif self.path == "/health":
            self.send(200, "")
        elif self.path == "/v1/models":
            listed = "another" if FAKE == "other model" else options.served_model_name
            self.send(200, {"data": [{"id": listed, "max_model_len": options.max_model_len}]})
        else:
            types = {name: "counter" if name.endswith("_total") else "gauge" for name in counts}
            labels = 'block_size="16",num_gpu_blocks="100"'
            info = f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{labels}}} 1\n"
            lines = [f'# TYPE vllm:{name} {types[name]}\nvllm:{name}{{engine="0"}} {counts[name]}\n' for name in counts]
            self.send(200, "# TYPE up gauge\nup 1\n" if FAKE == "no metrics" else "".join(lines) + info)

    def do_POST(self) -> None:
        try:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        except ValueError:
            return self.send(500 if FAKE == "no 4xx" else 400, {"error": {"message": "no JSON"}})
        if FAKE == "dies":
            os._exit(3)
        if request["model"] != options.served_model_name:
            return self.send(200 if FAKE == "any model" else 404, {"error": {"message": "no such model"}})
        if self.path == "/tokenize":
            tokens = list(range(6 if FAKE == "miscounts" else 5))
            return self.send(200, {"count": len(tokens), "tokens": tokens})
        if "messages" in request and FAKE == "no template":
            return self.send(400, {"error": {"message": "default chat template is no longer allowed"}})
        if request.get("stream"):
            return self.stream(request["max_tokens"])
        length = request["max_tokens"]
        count("generation_tokens_total", 0 if FAKE == "counts nothing" else length + OTHERS)
        text = " " if FAKE == "empty" else " Paris\x1b[2J"
        choice = {"text": text, "message": {"content": text}, "finish_reason": "length"}
        return self.send(200, {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": length}})

    def stream(self, tokens: int) -> None:
        self.send_response(200)
        self.end_headers()
        count("num_requests_running", 1)
        held = b""
        try:
            for at in range(tokens):
                time.sleep(TOKEN_S)
                count("generation_tokens_total", 1)
                if FAKE == "ends early" and tokens > LONGEST_STREAM and at == 2:
                    break
                event = b"data: " + json.dumps({"choices": [{"text": f" {at}"}]}).encode() + b"\n\n"
                if FAKE == "held back" or (FAKE == "late" and tokens == FIRST_STREAM):
                    held += event
                else:
                    self.wfile.write(event)
            last = {"choices": [], "usage": {"completion_tokens": tokens}}
            done = b"" if FAKE == "no end" else b"data: [DONE]\n\n"
            self.wfile.write(held + b"data: " + json.dumps(last).encode() + b"\n\n" + done)
        except OSError:
            if FAKE == "goes on":
                time.sleep(3600)
            count("generation_tokens_total", tokens if FAKE == "makes them all" else 0)
        count("num_requests_running", -1)

    def log_message(self, *_) -> None:
        pass


def main() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)  # fake engine core"])
    for second in range({"slow": 8, "waits": 60}.get(FAKE, 0)):
        print(f"INFO 11-21 11:27:{second:02} [utils.py:1] waiting" + f" {second}" * (FAKE == "slow"), flush=True)
        time.sleep(1)
    for line in LINES:
        print(line, flush=True)
        time.sleep(LINE_S)
        if FAKE == "hangs" and "Starting to load" in line:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
    print(os.environ.get("FAKE_WARNING", ""), flush=True)
    if "FAKE_LAST_WORDS" in os.environ:
        print(os.environ["FAKE_LAST_WORDS"], flush=True)
        sys.exit(1)
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--served-model-name")
    parser.add_argument("--max-model-len", type=int)
    options, _ = parser.parse_known_args()
    main()
