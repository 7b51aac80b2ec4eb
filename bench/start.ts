// Starts the app and the proxies in front of it; no proxy is measured that does not relay what it is given.
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findFault } from './check.ts'
import { type Child, startChild } from './children.ts'
import { LOAD_CORE, PROXY_CORE } from './machine.ts'
import { freePort, isAccepting } from './ports.ts'
import type { BackendPorts, Place, ProxySetup } from './proxies.ts'
import { membersOf } from './usage.ts'

/** What all the proxies of a run share. */
export interface Ground {
  folder: string
  backend: BackendPorts
  /** The processes of the app. */
  backendPids: readonly number[]
}

/** A proxy that answers. */
export interface Running {
  name: string
  port: number
  child: Child
  /** All of its processes. */
  pids: readonly number[]
}

/** Proxies side by side, and why some of them are not there. */
export interface Lineup {
  running: Running[]
  failed: Map<string, string>
}

export interface StartOptions {
  threads: number
  /** As taskset writes them. */
  cores: string
}

/** A proxy that is to be started. */
export interface Entry {
  name: string
  proxy: ProxySetup
  options?: Partial<StartOptions>
}

const UP_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 20
let started = 0

/** @throws Error when the app does not say where it listens */
export async function startGround(folder: string): Promise<Ground> {
  const logFile = join(folder, 'backend.log')
  const file = join(import.meta.dirname, 'backend.ts')
  const child = startChild(process.execPath, [file], { cores: LOAD_CORE, cwd: folder, logFile })
  for (const end = performance.now() + UP_WITHIN_MS; performance.now() < end; await pause(LOOK_AGAIN_MS)) {
    const [line = '', ...more] = readFileSync(logFile, 'utf8').split('\n')
    if (more.length > 0) return { folder, backend: JSON.parse(line), backendPids: membersOf(child.pid) }
  }
  throw new Error(`the app does not start:\n${readFileSync(logFile, 'utf8')}`)
}

/** @throws Error when it does not listen in time, or does not relay what it is given */
export async function startProxy(
  proxy: ProxySetup,
  ground: Ground,
  { threads = 1, cores = PROXY_CORE }: Partial<StartOptions> = {},
): Promise<Running> {
  const place = await newPlace(ground, proxy.name, { threads, cores })
  const child = await proxy.start(place)
  try {
    await untilAccepting(place.port, child)
    const fault = await findFault(place.port)
    if (fault) throw new Error(fault)
    return { name: proxy.name, port: place.port, child, pids: membersOf(child.pid) }
  } catch (error) {
    await child.end()
    throw error
  }
}

/** A folder and a port for one more process. */
export async function newPlace(
  { folder, backend }: Ground,
  name: string,
  options: StartOptions,
): Promise<Place> {
  started += 1
  const own = join(folder, `${started}-${name.replace('/', '-')}`)
  mkdirSync(own)
  return { ...options, folder: own, port: await freePort(), backend }
}

async function untilAccepting(port: number, child: Child): Promise<void> {
  for (const end = performance.now() + UP_WITHIN_MS; !(await isAccepting(port)); await pause(LOOK_AGAIN_MS)) {
    if (child.hasExited()) throw new Error('it ended at its start')
    if (performance.now() > end) throw new Error(`it does not listen within ${UP_WITHIN_MS} ms`)
  }
}

/** @param entries each with the name that it has in the tables */
export async function startAll(entries: readonly Entry[], ground: Ground): Promise<Lineup> {
  const lineup: Lineup = { running: [], failed: new Map() }
  const started = await Promise.allSettled(
    entries.map(({ proxy, options }) => startProxy(proxy, ground, options)),
  )
  for (const [at, result] of started.entries()) {
    const { name = '' } = entries[at] ?? {}
    if (result.status === 'fulfilled') lineup.running.push({ ...result.value, name })
    else lineup.failed.set(name, result.reason.message)
  }
  for (const [name, reason] of lineup.failed) console.error(`${name} failed: ${reason}`)
  return lineup
}

export async function endAll({ running }: Lineup): Promise<void> {
  await Promise.all(running.map(({ child }) => child.end()))
}

/** What stands in a table instead of figures: the first line of why there are none. */
export const failureOf = (name: string, failed: ReadonlyMap<string, string>): string =>
  `failed: ${firstLineOf(failed.get(name) ?? 'not measured')}`

export const firstLineOf = (text: string): string => text.split('\n', 1)[0] ?? ''
