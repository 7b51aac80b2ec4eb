// The app behind every proxy of the bench, a process of its own: canned answers from bare sockets, so that the load
// has the rest of the core. Its first line on stdout says where it listens.
import { createHash, type Hash } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { chunkedResponse, LARGE_BODY, response, SMALL_BODY, slotBody, TAKEN } from './canned.ts'
import { clockMs } from './clock.ts'
import { MessageReader, type MessageSink } from './message.ts'
import { Notebook } from './notes.ts'
import { acceptUpgrade, EchoReader } from './websocket.ts'

const CHUNKS = 3

type Canned = Readonly<Record<string, Buffer>>

const EVERYWHERE: Canned = {
  '/small': response(SMALL_BODY),
  '/chunked': chunkedResponse(SMALL_BODY, CHUNKS),
  '/large': response(LARGE_BODY),
  '/take': response(TAKEN),
}
const INTERNAL: Canned = { '/healthz': response(Buffer.from('{"healthy":true}')) }
const NOT_THERE = Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')

const notebook = new Notebook()

/** What is behind a port. */
interface Side {
  canned: Canned
  /** The slot, as the first byte of what it answers; 0 on an internal port. */
  slot: number
}

/** One connection: what was asked, and what of its body has to be kept. */
class Connection implements MessageSink {
  readonly #socket: Socket
  readonly #side: Side
  readonly #connectedMs = clockMs()
  readonly #reader = new MessageReader(this)
  #target = ''
  #head = ''
  #echoed: Buffer[] | null = null
  #hash: Hash | null = null
  #webSocket: EchoReader | null = null

  constructor(socket: Socket, side: Side) {
    this.#socket = socket
    this.#side = side
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('error', () => socket.destroy())
  }

  #read(bytes: Buffer): void {
    if (this.#webSocket) this.#webSocket.push(bytes)
    else this.#reader.push(bytes)
  }

  head(head: string): void {
    this.#head = head
    this.#target = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'))
    if (this.#side.slot !== 0) notebook.request(this.#side.slot)
    if (this.#target === '/echo') this.#echoed = []
    if (this.#target === '/hash') this.#hash = createHash('sha256')
  }

  body(bytes: Buffer): void {
    this.#echoed?.push(Buffer.from(bytes))
    this.#hash?.update(bytes)
  }

  end(): void {
    if (this.#target === '/ws') this.#upgrade()
    else this.#socket.write(this.#side.canned[this.#target] ?? this.#answer())
    if (this.#side.slot === 0) notebook.read(this.#connectedMs)
    this.#echoed = null
    this.#hash = null
  }

  /** What depends on the request. */
  #answer(): Buffer {
    if (this.#echoed) return response(Buffer.concat(this.#echoed))
    if (this.#hash) return response(Buffer.from(this.#hash.digest('hex')))
    if (this.#target.startsWith('/target')) return response(Buffer.from(this.#target))
    if (this.#target === '/notes') return response(Buffer.from(JSON.stringify(notebook)))
    return NOT_THERE
  }

  #upgrade(): void {
    this.#socket.write(acceptUpgrade(this.#head))
    this.#webSocket = new EchoReader(this.#socket)
  }
}

function listen(side: Side): Promise<number> {
  const server: Server = createServer((socket) => new Connection(socket, side))
  return new Promise((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })
}

function listenAsSlot(name: string): Promise<number> {
  const body = slotBody(name)
  return listen({ slot: body[0] ?? 0, canned: { ...EVERYWHERE, '/slot': response(body) } })
}

/** Two slots, each with a public side and an internal one: slotgate will have them apart. */
const [port, internalPort, otherPort, otherInternalPort] = await Promise.all([
  listenAsSlot('blue'),
  listen({ slot: 0, canned: INTERNAL }),
  listenAsSlot('green'),
  listen({ slot: 0, canned: INTERNAL }),
])
console.log(JSON.stringify({ port, internalPort, otherPort, otherInternalPort }))
