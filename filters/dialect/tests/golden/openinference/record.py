"""Records the requests of tritonclient for these tests: `pip install 'tritonclient[all]' h2`, then `python3 record.py DIRECTORY`."""

import http.server
import os
import socket
import sys
import threading

import h2.config
import h2.connection
import h2.events
import numpy as np
import tritonclient.grpc
import tritonclient.http

OUT = sys.argv[1]


def save(name, body):
    with open(os.path.join(OUT, name + ".bin"), "wb") as file:
        file.write(body)


class Http(http.server.BaseHTTPRequestHandler):
    """Keeps the last request, and answers it with an error."""

    last = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Http.last = (self.path, dict(self.headers), body)
        self.send_response(400)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def serve_grpc(listener, bodies):
    """Keeps the body of each request, and answers it with `UNIMPLEMENTED` at its end."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve_one, args=(peer, bodies), daemon=True).start()


def serve_one(peer, bodies):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    open_streams = {}
    while True:
        peer.sendall(connection.data_to_send())
        data = peer.recv(65536)
        if not data:
            return
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                open_streams.setdefault(event.stream_id, []).append(event.data)
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.StreamEnded):
                bodies.append(b"".join(open_streams.pop(event.stream_id, [])))
                headers = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12")]
                connection.send_headers(event.stream_id, headers, end_stream=True)


TEXTS = np.array([["Grüße".encode(), b""], [b"two", b"a\x00b"]], dtype=np.object_)
NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)
FLAGS = np.array([True, False, True])
IDS = np.array([-1, 2**40], dtype=np.int64)


def inputs(module, **how):
    made = []
    for name, values, datatype in [
        ("text", TEXTS, "BYTES"),
        ("x", NUMBERS, "FP32"),
        ("flags", FLAGS, "BOOL"),
        ("ids", IDS, "INT64"),
    ]:
        one = module.InferInput(name, list(values.shape), datatype)
        one.set_data_from_numpy(values, **how)
        made.append(one)
    return made


def attempt(call):
    try:
        call()
    except Exception:
        pass


def record_http():
    server = http.server.HTTPServer(("127.0.0.1", 0), Http)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.server_port}")
    shared = tritonclient.http.InferInput("text", [2], "BYTES")
    shared.set_shared_memory("region", 640, offset=64)
    mixed = inputs(tritonclient.http)[:1] + inputs(tritonclient.http, binary_data=False)[1:2]
    for name, these, more in [
        ("http-binary", inputs(tritonclient.http), {"request_id": "7", "model_version": "3"}),
        ("http-json", inputs(tritonclient.http, binary_data=False)[1:], {"priority": 1, "parameters": {"x": "y"}}),
        ("http-mixed", mixed, {"sequence_id": 9, "sequence_start": True}),
        ("http-shared-memory", [shared], {}),
    ]:
        attempt(lambda: client.infer("m", these, **more))
        path, headers, body = Http.last
        save(name, body)
        print(name, path, headers, len(body))


def record_grpc():
    listener = socket.create_server(("127.0.0.1", 0))
    bodies = []
    threading.Thread(target=serve_grpc, args=(listener, bodies), daemon=True).start()
    client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")
    made = inputs(tritonclient.grpc)
    attempt(lambda: client.infer("m", made, model_version="3", request_id="7", parameters={"x": "y"}))
    save("grpc-infer", bodies[-1])
    for algorithm in ("gzip", "deflate"):
        big = tritonclient.grpc.InferInput("x", [100], "FP32")
        big.set_data_from_numpy(np.zeros(100, dtype=np.float32))
        attempt(lambda: client.infer("m", [big], compression_algorithm=algorithm))
        save("grpc-" + algorithm, bodies[-1])
    shared = tritonclient.grpc.InferInput("text", [2], "BYTES")
    shared.set_shared_memory("region", 640)
    attempt(lambda: client.infer("m", [shared]))
    save("grpc-shared-memory", bodies[-1])
    before = len(bodies)
    client.start_stream(callback=lambda result, error: None)
    for at in range(3):
        one = tritonclient.grpc.InferInput("x", [1, at + 1], "FP32")
        one.set_data_from_numpy(NUMBERS[:1, : at + 1])
        attempt(lambda: client.async_stream_infer("m", [one], sequence_id=5, sequence_start=at == 0, sequence_end=at == 2))
    client.stop_stream()
    if len(bodies) > before:
        save("grpc-stream", bodies[-1])
    # Typed contents, as the clients of KServe and MLServer send them.
    pb = tritonclient.grpc.service_pb2
    message = pb.ModelInferRequest(model_name="m")
    for name, datatype, shape, field, values in [
        ("b", "BOOL", [3], "bool_contents", [True, False, True]),
        ("i", "INT32", [2], "int_contents", [-1, 300]),
        ("l", "INT64", [2], "int64_contents", [-1, 2**40]),
        ("u", "UINT8", [2], "uint_contents", [1, 255]),
        ("w", "UINT64", [1], "uint64_contents", [2**63]),
        ("f", "FP32", [3], "fp32_contents", [0.5, 1, 2]),
        ("d", "FP64", [2], "fp64_contents", [0.5, 1]),
        ("t", "BYTES", [2], "bytes_contents", ["Grüße".encode(), b""]),
    ]:
        one = message.inputs.add(name=name, datatype=datatype, shape=shape)
        getattr(one.contents, field).extend(values)
        one.parameters["content_type"].string_param = "np"
    body = message.SerializeToString()
    save("grpc-contents", b"\0" + len(body).to_bytes(4, "big") + body)


record_http()
record_grpc()
