// What every connection of a thread works with; made once.
import type { Socket } from 'node:net'
import type { RelayConfig } from '../config/types.ts'
import type { LineSink, Logger } from '../log.ts'
import type { Table } from '../slots/table.ts'
import type { Clock } from './clock.ts'
import type { Counter } from './counter.ts'
import type { Peer, Trust } from './forwarded.ts'
import type { Buffers } from './http1/buffers.ts'
import type { HeadReader } from './http1/head.ts'
import type { Pages } from './pages.ts'
import type { Passes } from './preview.ts'
import type { Route, Routed } from './route.ts'
import type { Upstreams } from './upstream.ts'
import type { WaitingRoom } from './waiting.ts'

export interface Front {
  readonly config: RelayConfig
  readonly route: (request: Routed) => Route
  readonly isTrusted: Trust
  readonly table: Table
  /** Whose claim cells this thread counts in. */
  readonly worker: number
  readonly upstreams: Upstreams
  readonly waiting: WaitingRoom
  /** Reads the heads of requests. */
  readonly heads: HeadReader
  /** What connections of both sides read into: each read is taken care of before the next. */
  readonly buffers: Buffers
  readonly clock: Clock
  readonly counter: Counter
  readonly log: Logger
  readonly lines: LineSink
  /** Takes what spans are made of; null: nobody wants any. */
  readonly spans: LineSink | null
  /** null: nothing can be previewed. */
  readonly passes: Passes | null
  /** null: nobody develops what is behind it. */
  readonly pages: Pages | null
  /** No connection is to outlive its exchange. */
  isClosing(): boolean
  /** Counts a connection that was made for this address; false: it was closed, because that address has too many. */
  admits(socket: Socket, address: string): boolean
  /** Takes over a connection whose next request asks for an upgrade; `unread` is what was read of it. */
  upgrade(socket: Socket, unread: Buffer, from: Peer): void
}
