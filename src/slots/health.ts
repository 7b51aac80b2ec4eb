// Whether a release is ready: 200 at its health path on the internal port.

import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Address, HealthConfig } from '../config/types.ts'
import type { Role } from '../contract.ts'
import { messageOf } from '../errors.ts'
import { ask, askStatus, describeFailure } from './ask.ts'

/** An app opens its ports one after the other; without an internal one for so long, it has none. */
const ONE_PORT_MS = 1_000
/** An app that logs what it is asked is not to be flooded meanwhile. */
const ONE_PORT_LOOK_MS = 100

/** @returns null when healthy, else why not, in a few words */
export async function checkHealth(
  address: Address,
  { path, timeoutMs, port }: HealthConfig,
  role: Role,
): Promise<string | null> {
  try {
    const question = { address, path, role, withinMs: timeoutMs }
    const isPublic = port === 'public'
    const status = isPublic ? await askStatus(question) : (await ask(question)).status
    return status === 200 || (isPublic && status < 500) ? null : `${path} answers ${status}`
  } catch (error) {
    return unasked(path, messageOf(error))
  }
}

const unasked = (path: string, why: string): string => `${path} cannot be asked: ${why}`

/** @returns null when something accepts connections there, else why not */
export function checkAccepts(address: Address, withinMs: number): Promise<string | null> {
  const socket = address.kind === 'unix' ? connect(address.path) : connect(address.port, address.host)
  return new Promise((resolve) => {
    const answer = (problem: string | null) => {
      socket.destroy()
      resolve(problem)
    }
    socket.once('connect', () => answer(null))
    socket.once('error', (error) => answer(describeFailure(error)))
    socket.setTimeout(withinMs, () => answer(`no answer within ${withinMs} ms`))
  })
}

const nobodys = async (): Promise<boolean> => false

/**
 * Asks until the answer is good.
 *
 * @param isOthers whether the internal port is another program's, whose answer is not the app's
 * @returns null when healthy within the time, else what was wrong last
 */
export async function waitHealthy(
  internal: Address,
  publicAddress: Address,
  health: HealthConfig,
  role: Role,
  signal: AbortSignal,
  isOthers = nobodys,
): Promise<string | null> {
  const until = performance.now() + health.withinMs
  for (;;) {
    // For most of a boot nobody listens, and to connect costs little.
    const refused = await checkAccepts(internal, health.timeoutMs)
    const problem = refused ? unasked(health.path, refused) : await checkHealth(internal, health, role)
    const unready =
      problem ?? (await publicProblem(publicAddress, health)) ?? (await strangerProblem(isOthers))
    if (unready === null || signal.aborted || performance.now() >= until) return unready
    await pause(health.intervalMs)
  }
}

/** Resolves once the public port has answered for a while and the app has not opened the internal one; else not at all. */
export async function waitForOnePort(
  internal: Address,
  publicAddress: Address,
  health: HealthConfig,
  role: Role,
  signal: AbortSignal,
  isOthers = nobodys,
): Promise<void> {
  let sinceMs: number | null = null
  while (!signal.aborted) {
    const isOpen = (await checkAccepts(internal, health.timeoutMs)) === null && !(await isOthers())
    const problem = isOpen ? '' : await checkHealth(publicAddress, { ...health, port: 'public' }, role)
    sinceMs = problem === null ? (sinceMs ?? performance.now()) : null
    if (sinceMs !== null && performance.now() - sinceMs >= ONE_PORT_MS) return
    await pause(ONE_PORT_LOOK_MS)
  }
  return new Promise(() => {})
}

const strangerProblem = async (isOthers: () => Promise<boolean>): Promise<string | null> =>
  (await isOthers()) ? 'another program listens on its internal port' : null

async function publicProblem(address: Address, { timeoutMs }: HealthConfig): Promise<string | null> {
  const problem = await checkAccepts(address, timeoutMs)
  return problem && `it is healthy, but its public port accepts no connections (${problem})`
}
