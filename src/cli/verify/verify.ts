// Asks an app what slotgate would ask it, and finds for each rule of the contract whether it holds.
import { isLoopback } from '../../config/addresses.ts'
import type { Address } from '../../config/types.ts'
import { readText } from '../../gate/read.ts'
import { type Question, urlOf } from '../../slots/ask.ts'
import { checkAccepts } from '../../slots/health.ts'
import { EXIT, Failure } from '../call.ts'
import { aboutBody, aboutSecondRead } from './body.ts'
import { type Finding, holds, untold } from './finding.ts'
import { checkHealth } from './health.ts'
import { checkPublic } from './public.ts'
import { aboutText, bodyIn } from './text.ts'

const CONNECT_WITHIN_MS = 3_000
/** What the config has where it says nothing else. */
const HEALTH = { path: '/healthz', withinMs: 2_000 } as const
const STATUS = { path: '/schema/status', withinMs: 3_000 } as const

export interface Verification {
  /** As a person types it. */
  internal: string
  public?: string
  /** Whether nothing is broken. */
  holds: boolean
  /** One for each rule, in the order of docs/contract.md. */
  findings: Finding[]
}

/**
 * Verifies a running app. It is asked as `idle` and as `rehearsal` and never as `live`, which would start its background
 * work; nothing is ever sent to `/migrations/run`.
 *
 * @throws Failure with exit code 5 where nobody listens
 */
export async function verifyApp(internal: Address, publicAddress?: Address): Promise<Verification> {
  const problem = await checkAccepts(internal, CONNECT_WITHIN_MS)
  if (problem) throw unreachable(internal, problem)
  const findings = await findAll(internal, publicAddress)
  return {
    internal: urlOf(internal),
    ...(publicAddress && { public: urlOf(publicAddress) }),
    holds: findings.every(({ holds }) => holds !== false),
    findings,
  }
}

const unreachable = (address: Address, problem: string): Failure =>
  new Failure(EXIT.unreachable, `Nothing answers at ${urlOf(address)}: ${problem}.`, [
    'See whether the app runs, and that this is its internal port: INTERNAL_PORT where slotgate booted it.',
  ])

async function findAll(internal: Address, publicAddress?: Address): Promise<Finding[]> {
  const health: Question = { address: internal, ...HEALTH, role: 'idle' }
  const status: Question = { address: internal, ...STATUS, role: 'idle' }
  const healthy = await checkHealth(health)
  const startedAt = performance.now()
  const first = await readText(status)
  const tookMs = Math.round(performance.now() - startedAt)
  const second = await readText({ ...status, role: 'rehearsal' })
  const body = bodyIn(first)
  return [
    aboutPlace(internal),
    healthy.finding,
    ...aboutText(first, tookMs),
    ...(body ? aboutBody(body) : [UNREAD]),
    aboutSecondRead(first, second),
    ...(publicAddress ? await checkPublic(publicAddress, { health, status }, healthy.text) : [UNASKED]),
    UNCALLED,
  ]
}

const UNREAD = untold('fields', 'The fields of the status could not be told.')

const UNASKED = untold(
  'public_port',
  'Whether the public port keeps these paths to itself was not asked.',
  'Name it: --public http://127.0.0.1:3001',
)

const UNCALLED = untold(
  'migrations_run',
  'POST /migrations/run was not called: it would migrate. slotgate never calls it, either.',
)

function aboutPlace(address: Address): Finding {
  if (address.kind === 'unix') return holds('internal_address', 'The internal address is a Unix socket.')
  if (isLoopback(address.host)) return holds('internal_address', 'The internal address is on loopback.')
  return untold(
    'internal_address',
    `Who else reaches ${urlOf(address)} could not be told: it is not on loopback.`,
    'Whoever reaches it may migrate the database; keep it to loopback, a Unix socket, or a network of its own.',
  )
}
