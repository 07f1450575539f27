/** HTTP proxies that are reached by the rule of gRPC's libraries: `https_proxy`, `no_proxy` and CONNECT. */
import { assertEquals, assertMatch } from "@std/assert";
import { FlightClient, serveFlight } from "../../flight.ts";
import { proxyFor } from "../../src/grpc/proxy.ts";
import { assertDipcError } from "../support/assert.ts";
import { Authority } from "../support/certificates.ts";

/** A proxy that opens tunnels to 127.0.0.1, whatever host is named, or gives the answer of the test. */
class TunnelProxy implements AsyncDisposable {
  readonly requests: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #sockets: Deno.Conn[] = [];
  readonly #running: Promise<void>;
  readonly uri = `http://127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}`;

  constructor(answer = "HTTP/1.1 200 OK\r\n\r\n") {
    this.#running = (async () => {
      for await (const socket of this.#listener) this.#serve(socket, answer).catch(() => {});
    })().catch(() => {});
  }

  async #serve(socket: Deno.Conn, answer: string): Promise<void> {
    this.#sockets.push(socket);
    const buffer = new Uint8Array(4096);
    let head = "";
    while (!head.endsWith("\r\n\r\n")) {
      head += new TextDecoder().decode(buffer.subarray(0, (await socket.read(buffer))!));
    }
    this.requests.push(head);
    if (!answer.includes(" 200 ")) {
      await socket.write(new TextEncoder().encode(answer));
      return socket.close();
    }
    const server = await Deno.connect({ hostname: "127.0.0.1", port: Number(/:(\d+) HTTP/.exec(head)![1]) });
    this.#sockets.push(server);
    await socket.write(new TextEncoder().encode(answer));
    server.readable.pipeTo(socket.writable).catch(() => {});
    await socket.readable.pipeTo(server.writable);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const socket of this.#sockets) {
      try {
        socket.close();
      } catch {
        // It has been closed by its stream.
      }
    }
    await this.#running;
  }
}

/** Sets variables until the end of the scope. */
function variables(values: Record<string, string>): Disposable {
  for (const [name, value] of Object.entries(values)) Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      for (const name of Object.keys(values)) Deno.env.delete(name);
    },
  };
}

async function actions(client: FlightClient): Promise<number> {
  let count = 0;
  for await (const _ of client.listActions()) count++;
  return count;
}

Deno.test("which proxy: the first variable that is set, unless an exception covers the host", () => {
  const found = (host: string, values: Record<string, string>): string | null => {
    const proxy = proxyFor(host, (name) => values[name]);
    return proxy === null ? null : `${proxy.host}:${proxy.port}`;
  };
  const https_proxy = "http://proxy.test:3128";
  assertEquals(found("a.test", {}), null);
  assertEquals(found("a.test", { https_proxy: "" }), null);
  assertEquals(found("a.test", { https_proxy }), "proxy.test:3128");
  assertEquals(found("a.test", { https_proxy, grpc_proxy: "http://first.test" }), "first.test:80");
  assertEquals(found("a.test", { http_proxy: "last.test:8080" }), "last.test:8080");
  const cases: [string, string, boolean][] = [
    ["a.test", "a.test", true],
    ["b.a.test", "x, .a.test ,y", true],
    ["B.A.test", "a.TEST", true],
    ["c.test", "a.test,b.test", false],
    ["127.0.0.1", "127.0.0.1", true],
    ["10.1.2.3", "10.0.0.0/8", true],
    ["11.1.2.3", "10.0.0.0/8", false],
    ["fd00::1", "fd00::/8", true],
    ["10.test", "10.0.0.0/8", false],
    ["10.1.2.3", "10.0.0.0/99", false],
    ["a.test", "*", true],
  ];
  for (const [host, no_proxy, isDirect] of cases) {
    assertEquals(found(host, { https_proxy, no_proxy }) === null, isDirect, `${host} with ${no_proxy}`);
  }
  assertEquals(found("a.test", { https_proxy, no_proxy: "a.test", no_grpc_proxy: "b.test" }), "proxy.test:3128");
  const bad = ["https://a.test:1", "socks5://a.test:1", "http://", "::"];
  for (const value of bad) {
    assertDipcError("invalid_argument", "https_proxy", () => found("a", { https_proxy: value }), value);
  }
});

Deno.test("a plain and an encrypted connection go through the proxy, which gets the name and resolves it", async (t) => {
  const authority = await Authority.create();
  const { cert, key } = await authority.issue("server");
  await using plain = await serveFlight({});
  await using secure = await serveFlight({ tls: { cert, key } });
  const tls = { ca: authority.cert, serverName: "localhost" };
  await using proxy = new TunnelProxy();
  const uri = proxy.uri.replace("//", "//ada:a%20secret@");
  using _ = variables({ https_proxy: uri, no_proxy: "direct.test,127.0.0.1" });
  for (const [scheme, { port }, options] of [["grpc", plain, {}], ["grpc+tls", secure, { tls }]] as const) {
    await t.step(scheme, async () => {
      await using client = await FlightClient.connect(`${scheme}://flight.test:${port}`, options);
      assertEquals(await actions(client), 6);
      const [line, host, authorization] = proxy.requests.at(-1)!.split("\r\n");
      assertEquals([line, host], [`CONNECT flight.test:${port} HTTP/1.1`, `host: flight.test:${port}`]);
      assertEquals(authorization, `proxy-authorization: Basic ${btoa("ada:a secret")}`);
      const before = proxy.requests.length;
      await using direct = await FlightClient.connect(`${scheme}://127.0.0.1:${port}`, options);
      assertEquals(await actions(direct), 6);
      assertEquals(proxy.requests.length, before);
    });
  }
});

Deno.test("a proxy that refuses, is silent or is not there is named in the error, without its password", async () => {
  const attempt = async (value: string, text: RegExp, scheme = "grpc") => {
    using _ = variables({ https_proxy: value });
    const error = await assertDipcError("unreachable", text, () => FlightClient.connect(`${scheme}://flight.test:1`));
    assertEquals(error.message.includes("secret"), false);
    assertMatch(error.message, /no_proxy$/);
  };
  await using refusing = new TunnelProxy("HTTP/1.1 403 Forbidden\r\n\r\n");
  await using silent = new TunnelProxy("");
  for (const scheme of ["grpc", "grpc+tls"]) {
    await attempt(
      refusing.uri.replace("//", "//u:secret@"),
      /the proxy http:\/\/127\.0\.0\.1:\d+ \(https_proxy\) answered "HTTP\/1\.1 403/,
      scheme,
    );
    await attempt(silent.uri, /the proxy .* closed the connection/, scheme);
    await attempt("http://u:secret@127.0.0.1:9", /the proxy http:\/\/127\.0\.0\.1:9 .*refused/i, scheme);
  }
});

Deno.test("a call says which client makes it, unless a program says something else", async () => {
  const seen: (string | null)[] = [];
  await using server = await serveFlight({
    handlers: { onCall: ({ headers }) => void seen.push(headers.get("user-agent")) },
  });
  for (const headers of [{}, { "user-agent": "mine" }] as Record<string, string>[]) {
    await using client = await FlightClient.connect(server.location, { headers });
    await actions(client);
  }
  assertMatch(seen[0] ?? "", /^dipc\/\d+\.\d+\.\d+ deno\/\d+\.\d+\.\d+$/);
  assertEquals(seen[1], "mine");
});

Deno.test("an error of TLS names the option that mends it", async () => {
  const [authority, other] = [await Authority.create(), await Authority.create("another")];
  const { cert, key } = await authority.issue("server");
  await using server = await serveFlight({ tls: { cert, key } });
  const attempt = (tls: object) => FlightClient.connect(server.location, { tls });
  await assertDipcError("unreachable", "tls.ca, or --tls-ca FILE", () => attempt({}));
  await assertDipcError("unreachable", "tls.ca, or --tls-ca FILE", () => attempt({ ca: other.cert }));
  const wrong = { ca: authority.cert, serverName: "other.test" };
  await assertDipcError("unreachable", "tls.serverName, or --tls-server-name NAME", () => attempt(wrong));
  await using client = await attempt({ insecureSkipVerify: true });
  assertEquals(await actions(client), 6);
});
