// Whether a release is ready: 200 at its health path on the internal port.

import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Address, HealthConfig } from '../config/types.ts'
import type { Role } from '../contract.ts'
import { messageOf } from '../errors.ts'
import { ask } from './ask.ts'

/** @returns null when healthy, else why not, in a few words */
export async function checkHealth(
  address: Address,
  { path, timeoutMs }: HealthConfig,
  role: Role,
): Promise<string | null> {
  try {
    const { status } = await ask({ address, path, role, withinMs: timeoutMs })
    return status === 200 ? null : `${path} answers ${status}`
  } catch (error) {
    return `${path} cannot be asked: ${messageOf(error)}`
  }
}

/** @returns null when something accepts connections there, else why not */
export function checkAccepts(address: Address): Promise<string | null> {
  const socket = address.kind === 'unix' ? connect(address.path) : connect(address.port, address.host)
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy()
      resolve(null)
    })
    socket.once('error', (error) => resolve(messageOf(error)))
  })
}

/**
 * Asks until the answer is good.
 *
 * @returns null when healthy within the time, else what was wrong last
 */
export async function waitHealthy(
  internal: Address,
  publicAddress: Address,
  health: HealthConfig,
  role: Role,
  signal: AbortSignal,
): Promise<string | null> {
  const until = performance.now() + health.withinMs
  for (;;) {
    const problem = await checkHealth(internal, health, role)
    const unready = problem ?? (await publicProblem(publicAddress))
    if (unready === null || signal.aborted || performance.now() >= until) return unready
    await pause(health.intervalMs)
  }
}

async function publicProblem(address: Address): Promise<string | null> {
  const problem = await checkAccepts(address)
  return problem && `it is healthy, but its public port accepts no connections (${problem})`
}
