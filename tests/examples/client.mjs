// A client for Node, written from buddyd/protocol/README.md alone; it needs no packages.
//
//     import { Client, executionId } from "./client.mjs";
//
//     const client = new Client();
//     await client.call("record_executions", { executions: [{ execution_id: executionId(), … }] });
//     console.log((await client.call("get_agents_status")).agents);
//     client.close();

import { existsSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { randomBytes } from "node:crypto";
import { join } from "node:path";

const UNAVAILABLE = -32000;

/** The daemon will not do it; `code` says why, `data` has the particulars. */
export class Refused extends Error {
  constructor({ code, message, data }) {
    super(message);
    Object.assign(this, { code, data });
  }
}

/** No answer came. What was asked may have been done. */
export class Lost extends Error {}

/** Where the daemon listens: the first that applies. */
export function findSocket(told) {
  const env = process.env;
  const root = process.geteuid() === 0;
  const chosen = told || env.BUDDYD_SOCKET || configured();
  if (chosen) return chosen;
  if (env.RUNTIME_DIRECTORY) return join(env.RUNTIME_DIRECTORY.split(":")[0], "buddyd.sock");
  if (env.XDG_RUNTIME_DIR) return join(env.XDG_RUNTIME_DIR, "buddyd", "buddyd.sock");
  if (root) return "/run/buddyd/buddyd.sock";
  const folder = join(env.TMPDIR || "/tmp", `buddyd-${process.geteuid()}`);
  const found = existsSync(folder) && statSync(folder);
  if (found && (found.uid !== process.geteuid() || found.mode & 0o077)) {
    throw new Lost(`${folder} is not safe: it belongs to somebody else, or lets others in.`);
  }
  return join(folder, "buddyd.sock");
}

function configured() {
  const home = process.env.XDG_CONFIG_HOME || join(process.env.HOME || "/", ".config");
  const file = [join(home, "buddyd/buddyd.toml"), "/etc/buddyd/buddyd.toml"].find(existsSync);
  // The key stands before the first table.
  const head = file ? readFileSync(file, "utf8").split(/^\s*\[/m)[0] : "";
  return /^\s*socket\s*=\s*["'](.*)["']/m.exec(head)?.[1];
}

/** A UUIDv7: the key by which a record counts once, however often it is sent. */
export function executionId() {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

export class Client {
  #path;
  #seconds;
  #socket = null;
  #open = new Map();
  #last = 0;

  constructor({ socket, timeoutSeconds = 10 } = {}) {
    this.#path = findSocket(socket);
    this.#seconds = timeoutSeconds;
  }

  /**
   * The result of a method. What the daemon cannot do for now is asked again, and so is what was
   * lost with its connection: give every execution an id, and it counts once all the same.
   */
  async call(method, params = {}) {
    const end = Date.now() + this.#seconds * 1000;
    for (let wait = 0.05; ; wait *= 2) {
      try {
        return await this.#ask(method, params, end - Date.now());
      } catch (error) {
        const later = error instanceof Refused && error.code === UNAVAILABLE;
        const lost = error instanceof Lost && error.again && method !== "backup";
        if (!later && !lost) throw error;
        const seconds = later ? Math.max(error.data.retry_after_seconds, wait) : wait * Math.random();
        if (Date.now() + seconds * 1000 >= end) throw error;
        await pause(seconds);
      }
    }
  }

  close() {
    this.#socket?.end();
    this.#socket = null;
  }

  #ask(method, params, milliseconds) {
    const id = ++this.#last;
    return new Promise((done, fail) => {
      const timer = setTimeout(() => {
        this.#open.delete(id);
        fail(new Lost(`The daemon at ${this.#path} gave no answer within ${this.#seconds} s.`));
      }, milliseconds);
      const settle = (act) => (value) => (clearTimeout(timer), this.#open.delete(id), act(value));
      this.#open.set(id, { done: settle(done), fail: settle(fail) });
      this.#connected().write(JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n");
    });
  }

  #connected() {
    if (this.#socket) return this.#socket;
    const socket = (this.#socket = connect(this.#path));
    let rest = "";
    socket.setEncoding("utf8");
    socket.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      lines.forEach((line) => this.#hear(JSON.parse(line)));
    });
    socket.on("error", (error) => this.#lose(socket, error));
    socket.on("close", () => this.#lose(socket, new Error("the connection ended")));
    return socket;
  }

  #hear({ id, result, error }) {
    if (error && id === null) {
      // A request could not be read, and nobody can tell which one.
      for (const waiting of [...this.#open.values()]) waiting.fail(new Refused(error));
      return;
    }
    const waiting = this.#open.get(id);
    if (error) waiting?.fail(new Refused(error));
    else waiting?.done(result);
  }

  #lose(socket, problem) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    for (const waiting of [...this.#open.values()]) {
      const lost = new Lost(`No daemon answers at ${this.#path}: ${problem.message}.`);
      lost.again = !["ENOENT", "EACCES"].includes(problem.code);
      waiting.fail(lost);
    }
  }
}
