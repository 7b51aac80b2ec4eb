// Starts slotgate as an operator would: a config, a key, `serve`, and a promotion through the signed command line.
import { execFile } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { generateKey, writeKeyFile } from '../src/cli/keyfile.ts'
import { type SigningKey, signRequest } from '../src/signing.ts'
import { type Child, startChild } from './children.ts'
import { clockMs } from './clock.ts'
import { MessageReader, type MessageSink } from './message.ts'
import { freePort, isAccepting } from './ports.ts'
import type { Place } from './proxies.ts'

const BIN = join(import.meta.dirname, '..', 'src', 'bin.ts')
const KEY_ID = 'bench'
const UP_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 20

export interface SlotgateOptions {
  accessLog: boolean
}

export interface Slotgate extends Child {
  adminPort: number
  key: SigningKey
}

/** @throws Error when it does not come up or the promotion is refused */
export async function startSlotgate(place: Place, options: SlotgateOptions): Promise<Slotgate> {
  const adminPort = await freePort()
  const keyFile = join(place.folder, `${KEY_ID}.key`)
  const { content, publicKey = '' } = generateKey('ed25519')
  writeKeyFile(keyFile, content)
  const config = join(place.folder, 'proxy.config.yaml')
  writeFileSync(config, configOf(place, options, { adminPort, publicKey }))
  const logFile = join(place.folder, 'output.log')
  const child = startChild(process.execPath, [BIN, 'serve', '--config', config], {
    cores: place.cores,
    cwd: place.folder,
    logFile,
  })
  try {
    await untilAccepting(adminPort, child, logFile)
    await promisify(execFile)(process.execPath, [
      BIN,
      'promote',
      '--admin',
      `http://127.0.0.1:${adminPort}`,
      '--key',
      keyFile,
    ])
    return { ...child, adminPort, key: signingKeyOf(content) }
  } catch (error) {
    await child.end()
    throw error
  }
}

interface AdminDoor {
  adminPort: number
  publicKey: string
}

function configOf(
  { port, threads, backend }: Place,
  { accessLog }: SlotgateOptions,
  { adminPort, publicKey }: AdminDoor,
): string {
  const slot = (publicPort: number, internalPort: number) =>
    `{ public: "http://127.0.0.1:${publicPort}", internal: "http://127.0.0.1:${internalPort}" }`
  return `
listen: 127.0.0.1:${port}
threads: ${threads}
admin:
  listen: 127.0.0.1:${adminPort}
  keys:
    - { id: ${KEY_ID}, algorithm: ed25519, public_key: "${publicKey}", allow: [read, promote, rollback] }
state_dir: state
relay: { access_log: ${accessLog ? 'on' : 'off'} }
services:
  app:
    slots:
      blue: ${slot(backend.port, backend.internalPort)}
      green: ${slot(backend.otherPort, backend.otherInternalPort)}
    schema: off
`
}

async function untilAccepting(port: number, child: Child, logFile: string): Promise<void> {
  for (const end = performance.now() + UP_WITHIN_MS; performance.now() < end; await pause(LOOK_AGAIN_MS)) {
    if (child.hasExited()) throw new Error(`slotgate ended at its start:\n${readFileSync(logFile, 'utf8')}`)
    if (await isAccepting(port)) return
  }
  throw new Error(`slotgate does not listen within ${UP_WITHIN_MS} ms`)
}

const signingKeyOf = (content: string): SigningKey => ({
  id: KEY_ID,
  algorithm: 'ed25519',
  privateKey: createPrivateKey(content),
})

export interface AdminAnswer {
  status: number
  body: string
  /** By the common clock. */
  sentMs: number
  answeredMs: number
}

/** Calls the admin API on one connection that stays open, so that a call is on its way the moment it is sent. */
export class AdminCaller implements MessageSink {
  readonly #socket: Socket
  readonly #origin: string
  readonly #key: SigningKey
  readonly #reader = new MessageReader(this)
  #status = 0
  #body = ''
  #pending: { resolve(): void; reject(error: Error): void } | null = null

  constructor({ adminPort, key }: Slotgate) {
    this.#origin = `127.0.0.1:${adminPort}`
    this.#key = key
    this.#socket = connect({ port: adminPort, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', (bytes: Buffer) => this.#reader.push(bytes))
    this.#socket.on('error', () => this.#socket.destroy())
    this.#socket.on('close', () => this.#pending?.reject(new Error('the admin API closed the connection')))
  }

  /** One call at a time. @throws Error when the connection ends before the answer */
  async call(path: string): Promise<AdminAnswer> {
    const body = '{}'
    const url = `http://${this.#origin}${path}`
    const signed = signRequest({ method: 'POST', url, body, key: this.#key })
    const fields = { host: this.#origin, ...signed, 'content-length': String(body.length) }
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}`)
    const bytes = [`POST ${path} HTTP/1.1`, ...head, '', body].join('\r\n')
    const answered = new Promise<void>((resolve, reject) => {
      this.#pending = { resolve, reject }
    })
    const sentMs = clockMs()
    this.#socket.write(bytes)
    await answered
    return { status: this.#status, body: this.#body, sentMs, answeredMs: clockMs() }
  }

  close(): void {
    this.#pending = null
    this.#socket.destroy()
  }

  head(head: string): void {
    this.#status = Number(head.split(' ', 2)[1])
    this.#body = ''
  }

  body(bytes: Buffer): void {
    this.#body += bytes.toString()
  }

  end(): void {
    this.#pending?.resolve()
    this.#pending = null
  }
}
