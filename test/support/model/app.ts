// The app of the model's runs: a real HTTP server in the test's own process, with a public and an internal port. All of
// them share one schema version, and each release says of itself what its entry here says.
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Address } from '../../../src/config/types.ts'
import type { SchemaStatus } from '../../../src/contract.ts'
import type { Instance } from '../../../src/slots/drivers/driver.ts'

/** What a release says of itself. */
export interface Manners {
  readonly min: number
  readonly max: number
  /** Instead of the truth. */
  readonly compatible?: boolean
}

export const RELEASES = {
  old: { min: 40, max: 42 },
  mid: { min: 42, max: 43 },
  new: { min: 43, max: 45 },
  wide: { min: 40, max: 46 },
  unwilling: { min: 40, max: 46, compatible: false },
  liar: { min: 50, max: 60, compatible: true },
} satisfies Record<string, Manners>

export type ReleaseName = keyof typeof RELEASES
export const RELEASE_NAMES = Object.keys(RELEASES) as ReleaseName[]

type StatusOfApp = Pick<
  SchemaStatus,
  'current_schema_version' | 'code_min_schema_version' | 'code_max_schema_version' | 'compatible' | 'boot_id'
>

/** What all apps share, and what they write down. */
export interface Town {
  schema: number
  readonly sick: Set<string>
  bootsFail: boolean
  /** Each request that reached an app, by its id: who got it. */
  readonly delivered: Map<string, App[]>
  /** Told after a status was answered. */
  onStatus(app: App): void
}

export const KILLED = 'signal SIGKILL'

export class App {
  readonly release: ReleaseName
  readonly bootId: string
  readonly exited: Promise<string>
  readonly startedAt = new Date()
  /** Requests that it still answers, by id. */
  readonly held = new Map<string, ServerResponse>()
  /** How often it was asked for its status. */
  statuses = 0
  /** Whether its last answer said that it fits. */
  saidFitting = false
  isGone = false
  wasKilled = false
  readonly #town: Town
  readonly #exit: (how: string) => void
  readonly #front: Server
  readonly #internal: Server

  constructor(release: ReleaseName, bootId: string, town: Town) {
    this.release = release
    this.bootId = bootId
    this.#town = town
    const { promise, resolve } = Promise.withResolvers<string>()
    this.exited = promise
    this.#exit = resolve
    this.#front = createServer((request, response) => this.#serve(request.url ?? '/', response))
    this.#internal = createServer((request, response) => this.#tell(request.url ?? '/', response))
  }

  async listen(): Promise<void> {
    for (const server of [this.#front, this.#internal]) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
  }

  get publicAddress(): Address {
    return addressOf(this.#front)
  }

  get internalAddress(): Address {
    return addressOf(this.#internal)
  }

  /** Nothing of it answers any more, and whatever it was answering is cut. */
  end(how: string): void {
    if (this.isGone) return
    this.isGone = true
    this.wasKilled = how === KILLED
    for (const server of [this.#front, this.#internal]) {
      server.closeAllConnections()
      server.close()
    }
    this.#exit(how)
  }

  finish(id: string): void {
    this.held.get(id)?.end('ended')
  }

  #serve(url: string, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(url, 'http://app')
    const id = searchParams.get('id') ?? ''
    const { delivered } = this.#town
    delivered.set(id, [...(delivered.get(id) ?? []), this])
    response.setHeader('x-boot', this.bootId)
    if (pathname !== '/hold') return void response.end('done')
    this.held.set(id, response)
    response.on('close', () => this.held.delete(id))
    response.write('begun')
  }

  #tell(path: string, response: ServerResponse): void {
    if (path === '/healthz') {
      response.writeHead(this.#town.sick.has(this.release) ? 503 : 200).end()
      return
    }
    const status = this.#status()
    this.statuses += 1
    this.saidFitting = status.compatible && isInside(status)
    response.on('finish', () => this.#town.onStatus(this))
    response.end(JSON.stringify(status))
  }

  #status(): StatusOfApp {
    const { min, max, compatible }: Manners = RELEASES[this.release]
    const current = this.#town.schema
    return {
      current_schema_version: current,
      code_min_schema_version: min,
      code_max_schema_version: max,
      compatible: compatible ?? (min <= current && current <= max),
      boot_id: this.bootId,
    }
  }
}

const isInside = ({ current_schema_version: current, ...range }: StatusOfApp): boolean =>
  range.code_min_schema_version <= current && current <= range.code_max_schema_version

function addressOf(server: Server): Address {
  const { port } = server.address() as AddressInfo
  return { kind: 'tcp', host: '127.0.0.1', port }
}

/** The app as slotgate's drivers describe what they booted. */
export const instanceOf = (app: App, stop: () => Promise<void>): Instance => ({
  release: app.release,
  bootId: app.bootId,
  pid: null,
  startedAt: app.startedAt,
  takenOver: false,
  publicAddresses: [app.publicAddress],
  internal: app.internalAddress,
  exited: app.exited,
  output: () => [],
  stop,
  letGo: () => {},
})
