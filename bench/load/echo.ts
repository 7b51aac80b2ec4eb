// The load of WebSockets: so many of them, each sending its next message when the one before has come back.
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { maskedFrame, plainFrame } from '../websocket.ts'
import { leaveAll } from './closed.ts'
import { type Measured, startTally, type Tally, type Window, watch } from './window.ts'

export interface EchoLoad {
  port: number
  connections: number
  message: Buffer
}

export async function runEcho(load: EchoLoad, window: Window): Promise<Measured> {
  const tally = startTally()
  const sessions = Array.from({ length: load.connections }, () => new Session(load, tally))
  try {
    return await watch(tally, window)
  } finally {
    tally.stopped = true
    await leaveAll(sessions)
  }
}

/** One WebSocket; when it is lost, another failure is counted and it is not opened again. */
class Session {
  readonly #socket: Socket
  readonly #closed: Promise<void>
  readonly #frame: Buffer
  readonly #expected: Buffer
  readonly #tally: Tally
  #isOpen = false
  #arrived: Buffer = Buffer.alloc(0)

  constructor({ port, message }: EchoLoad, tally: Tally) {
    this.#tally = tally
    this.#frame = maskedFrame(message)
    this.#expected = plainFrame(message)
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#closed = new Promise((resolve) => this.#socket.once('close', () => resolve()))
    this.#socket.once('connect', () => this.#socket.write(upgradeRequest()))
    this.#socket.on('data', (bytes: Buffer) => this.#read(bytes))
    this.#socket.on('error', () => this.#socket.destroy())
    this.#socket.once('close', () => {
      if (!tally.stopped) tally.failed += 1
    })
  }

  leave(): Promise<void> {
    this.#socket.destroy()
    return this.#closed
  }

  #read(bytes: Buffer): void {
    this.#arrived = this.#arrived.length > 0 ? Buffer.concat([this.#arrived, bytes]) : bytes
    if (!this.#isOpen) this.#readHead()
    else if (this.#arrived.length >= this.#expected.length) this.#readFrame()
  }

  #readHead(): void {
    const end = this.#arrived.indexOf('\r\n\r\n')
    if (end < 0) return
    if (!this.#arrived.toString('latin1', 0, end).startsWith('HTTP/1.1 101'))
      return void this.#socket.destroy()
    this.#isOpen = true
    this.#arrived = this.#arrived.subarray(end + 4)
    this.#socket.write(this.#frame)
  }

  #readFrame(): void {
    if (this.#arrived.equals(this.#expected)) this.#tally.answered += 1
    else this.#tally.failed += 1
    this.#arrived = this.#arrived.subarray(this.#arrived.length)
    this.#socket.write(this.#frame)
  }
}

function upgradeRequest(): Buffer {
  const fields = [
    'Host: bench.localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Origin: http://bench.localhost',
  ]
  return Buffer.from(['GET /ws HTTP/1.1', ...fields, '', ''].join('\r\n'))
}
