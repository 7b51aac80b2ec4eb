// Reading an accepted connection without a stream in between: into memory of ours, with nothing allocated for what
// arrives. Node offers that for connections it makes (`onread` of `net.connect`), not for those it accepts; this sets for
// these what that option sets. The names are Node's own: where one of them is missing, streams do the reading. Runs in the
// thread of the connection.
import { Socket } from 'node:net'

/** Is told of a read, whose octets are the first `size` of the buffer. @returns false to read no more for now */
export type OnRead = (size: number, buffer: Buffer) => boolean

interface Handle {
  useUserBuffer(buffer: Buffer): void
}

const symbols = Object.getOwnPropertySymbols(new Socket())
const symbolOf = (name: string) => symbols.find(({ description }) => description === name)

const BUFFER = symbolOf('kBuffer')
const NEXT_BUFFER = symbolOf('kBufferGen')
const CALLBACK = symbolOf('kBufferCb')

function handleOf(socket: Socket): Handle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const isOne = typeof handle === 'object' && handle !== null && 'useUserBuffer' in handle
  return isOne ? (handle as Handle) : undefined
}

/** Whether this Node lets accepted connections be read so. */
export const readsDirectly: boolean =
  BUFFER !== undefined && NEXT_BUFFER !== undefined && CALLBACK !== undefined

/**
 * @param socket that was accepted a moment ago and has read nothing yet
 * @param next the buffer for the next read
 * @param onRead called with each read; the buffer is read into again after the call unless `next` gives another one
 */
export function readInto(socket: Socket, next: () => Buffer, onRead: OnRead): void {
  const handle = handleOf(socket)
  if (BUFFER === undefined || NEXT_BUFFER === undefined || CALLBACK === undefined || handle === undefined) {
    socket.on('data', (chunk: Buffer) => onRead(chunk.length, chunk) || socket.pause())
    return
  }
  const first = next()
  Reflect.set(socket, BUFFER, first)
  Reflect.set(socket, NEXT_BUFFER, next)
  Reflect.set(socket, CALLBACK, onRead)
  handle.useUserBuffer(first)
}
