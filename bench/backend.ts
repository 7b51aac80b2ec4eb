// The app behind every proxy of the bench, a process of its own: canned answers from bare sockets, so that the load
// has the rest of the core. Its first line on stdout says where it listens.
import { createHash, type Hash } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { chunkedResponse, LARGE_BODY, response, SMALL_BODY, TAKEN } from './canned.ts'
import { MessageReader, type MessageSink } from './message.ts'
import { acceptUpgrade, EchoReader } from './websocket.ts'

const CHUNKS = 3

const CANNED: Readonly<Record<string, Buffer>> = {
  '/small': response(SMALL_BODY),
  '/chunked': chunkedResponse(SMALL_BODY, CHUNKS),
  '/large': response(LARGE_BODY),
  '/take': response(TAKEN),
  '/healthz': response(Buffer.from('{"healthy":true}')),
}
const NOT_THERE = Buffer.from('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')

/** One connection: what was asked, and what of its body has to be kept. */
class Connection implements MessageSink {
  readonly #socket: Socket
  readonly #reader = new MessageReader(this)
  #target = ''
  #head = ''
  #echoed: Buffer[] | null = null
  #hash: Hash | null = null
  #webSocket: EchoReader | null = null

  constructor(socket: Socket) {
    this.#socket = socket
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
    if (this.#target === '/echo') this.#echoed = []
    if (this.#target === '/hash') this.#hash = createHash('sha256')
  }

  body(bytes: Buffer): void {
    this.#echoed?.push(Buffer.from(bytes))
    this.#hash?.update(bytes)
  }

  end(): void {
    if (this.#target === '/ws') this.#upgrade()
    else this.#socket.write(CANNED[this.#target] ?? this.#answer())
    this.#echoed = this.#hash = null
  }

  /** What depends on the request. */
  #answer(): Buffer {
    if (this.#echoed) return response(Buffer.concat(this.#echoed))
    if (this.#hash) return response(Buffer.from(this.#hash.digest('hex')))
    if (this.#target.startsWith('/target')) return response(Buffer.from(this.#target))
    return NOT_THERE
  }

  #upgrade(): void {
    this.#socket.write(acceptUpgrade(this.#head))
    this.#webSocket = new EchoReader(this.#socket)
  }
}

function listen(): Promise<number> {
  const server: Server = createServer((socket) => new Connection(socket))
  return new Promise((resolve) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : 0)
    })
  })
}

/** Two slots, each with a public side and an internal one: slotgate will have them apart. */
const [port, internalPort, otherPort, otherInternalPort] = await Promise.all([
  listen(),
  listen(),
  listen(),
  listen(),
])
console.log(JSON.stringify({ port, internalPort, otherPort, otherInternalPort }))
