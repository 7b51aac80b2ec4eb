// What may happen to slotgate, as fast-check draws it: each command does it to the model and to the system, and then the
// invariants are looked at.
import fc from 'fast-check'
import type { Control } from '../../../src/switch/types.ts'
import { RELEASE_NAMES, type ReleaseName } from './app.ts'
import { checkAll } from './invariants.ts'
import {
  act,
  copyOf,
  lookAgain,
  type Model,
  misfit,
  newModel,
  type Operation,
  passLongTime,
  restart,
} from './model.ts'
import { type Fate, LONG_MS, type Meanwhile, SERVICE, System } from './system.ts'

type Command = fc.AsyncCommand<Model, System>

/** How often each answer was seen, over all runs: runs that never refuse prove little. */
export const outcomes = new Map<string, number>()

/** @param text how a counterexample shows it */
function command(
  text: string,
  run: (model: Model, system: System) => Promise<void>,
  check: (model: Model) => boolean = () => true,
): Command {
  return {
    check,
    async run(model, system) {
      await run(model, system)
      await checkAll(system, model)
    },
    toString: () => text,
  }
}

const callOf =
  (operation: Operation, exclusive = false) =>
  (control: Control): Promise<unknown> => {
    const { name, generation } = operation
    const condition = generation === undefined ? {} : { ifGeneration: generation }
    const context = { actor: 'ops', ...condition, exclusive }
    if (name === 'promote') return control.promote(SERVICE, context)
    if (name === 'rollback') return control.rollback(SERVICE, operation.to, context)
    return control[name](SERVICE, operation.release, context)
  }

const count = (outcome: string) => void outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)

function expectOutcome(draft: Draft, got: string | undefined, wanted: string): void {
  count(`${draft.operation.name}: ${wanted}`)
  if (got !== wanted) throw new Error(`${named(draft)} was answered ${got}; it has to be ${wanted}`)
}

/** What the model becomes, in place, since fast-check holds on to it. */
const become = (model: Model, other: Model): void => void Object.assign(model, other)

/** An operation that is drawn before the generation is known. */
interface Draft {
  operation: Operation
  /** What the caller believes of the generation; 0: what it is. */
  off: number | null
  exclusive: boolean
}

function releaseOf(operation: Operation): ReleaseName | undefined {
  if (operation.name === 'rollback') return operation.to
  return 'release' in operation ? operation.release : undefined
}

const named = ({ operation, off, exclusive }: Draft): string => {
  const facts = [
    releaseOf(operation),
    off === null ? undefined : `if generation ${off < 0 ? off : `+${off}`}`,
    exclusive ? 'exclusive' : undefined,
  ]
  return `${operation.name}(${facts.filter((fact) => fact !== undefined).join(', ')})`
}

const addressed = ({ operation, off }: Draft, { generation }: Model): Operation => ({
  ...operation,
  ...(off !== null && { generation: generation + off }),
})

/** An exclusive switch would wait for what is open, and in these runs that ends only when it is told to. */
const isAlone = ({ exclusive }: Draft, { held }: System): boolean =>
  exclusive && !held.some(({ isOpen }) => isOpen)

/** Deploying what is live already is not a switch. */
const isSwitch =
  (...drafts: Draft[]) =>
  ({ live }: Model): boolean =>
    drafts.every(({ operation }) => operation.name !== 'deploy' || operation.release !== live?.release)

const operate = (draft: Draft): Command =>
  command(
    named(draft),
    async (model, system) => {
      const operation = addressed(draft, model)
      const wanted = act(model, operation)
      const [got] = await system.call(callOf(operation, isAlone(draft, system)))
      expectOutcome(draft, got, wanted)
    },
    isSwitch(draft),
  )

/** Two callers at the same moment: as if one came after the other, or one is told to wait for the other. */
const together = (one: Draft, other: Draft): Command =>
  command(
    `together(${named(one)}, ${named(other)})`,
    async (model, system) => {
      const operations = [addressed(one, model), addressed(other, model)] as const
      const answers = await system.call(...operations.map((operation) => callOf(operation)))
      for (const answer of answers) count(`together: ${answer}`)
      const order = ORDERS.map((order) => inOrder(model, operations, answers, order)).find((after) => after)
      if (!order) throw new Error(`${named(one)} and ${named(other)} were answered ${answers.join(' and ')}`)
      become(model, order)
    },
    isSwitch(one, other),
  )

/** Who is served in which order; what is missing has to wait. */
const ORDERS = [[0], [1], [0, 1], [1, 0]] as const

/** @returns the model after that order, if these are its answers */
function inOrder(
  model: Model,
  operations: readonly Operation[],
  answers: readonly string[],
  order: readonly number[],
): Model | null {
  const after = copyOf(model)
  const expected = operations.map(() => 'operation_in_progress')
  for (const at of order) expected[at] = act(after, operations[at] ?? never())
  const isIt = expected.join() === answers.join()
  // What does something takes its time, and the other comes too early for that.
  const isPossible = order.length === 1 || expected.join() !== 'ok,ok'
  return isIt && isPossible ? after : null
}

function never(): never {
  throw new Error('there are two operations')
}

/** The disk fails, or slotgate dies, at the very moment at which a flip is written down. */
const withFate = (draft: Draft, fate: Fate): Command =>
  command(
    `${named(draft)} while the line of the flip is ${fate}`,
    async (model, system) => {
      const operation = addressed(draft, model)
      const after = copyOf(model)
      const wanted = act(after, operation)
      const isFlip = after.generation > model.generation
      system.fate = fate
      const [got] = await system.call(callOf(operation, isAlone(draft, system)))
      expectOutcome(draft, got, !isFlip ? wanted : fate === 'refused' ? 'journal_write_failed' : 'crashed')
      if (!isFlip || fate === 'written') become(model, after)
      else if (operation.name === 'deploy') model.idle = { release: operation.release, runs: true }
      if (isFlip && fate !== 'refused') restart(model)
    },
    isSwitch(draft),
  )

/** Something happens while the gate looks; what counts is the last look before the flip. */
const meeting = (
  draft: Draft & { operation: { name: 'promote' | 'deploy' } },
  meanwhile: Meanwhile,
): Command => {
  const text = `${named(draft)} and after look ${meanwhile.look} ${JSON.stringify(meanwhile.what)}`
  return command(
    text,
    async (model, system) => {
      const operation = addressed(draft, model)
      const wanted = meet(model, operation, meanwhile)
      system.meanwhile = meanwhile
      const [got] = await system.call(callOf(operation))
      expectOutcome(draft, got, wanted)
    },
    isSwitch(draft),
  )
}

function meet(model: Model, operation: Operation, { look, what }: Meanwhile): string {
  const before = copyOf(model)
  const decided = act(model, operation)
  const isFlip = decided === 'ok'
  const candidate = isFlip ? model.live : model.idle
  const wasAsked = isFlip || (candidate !== null && decided === misfit(before, candidate.release))
  // Refused at the first look: there is no second one. Refused before: there is none at all.
  if (!wasAsked || (!isFlip && look === 2)) return decided
  if (what === 'live dies') {
    const formerly = isFlip ? model.idle : model.live
    if (formerly) formerly.runs = false
    return decided
  }
  if (what === 'the candidate dies') {
    if (isFlip) unflip(model, before, operation)
    if (model.idle) model.idle.runs = false
    if (!isFlip) return decided
    return look === 1 ? 'schema_status_unreachable' : 'candidate_unhealthy'
  }
  if (look === 1 && isFlip) {
    become(model, before)
    model.schema = what.migrateTo
    return act(model, operation)
  }
  model.schema = what.migrateTo
  return isFlip && lookAgain(model) ? 'schema_changed_during_switch' : decided
}

/** The candidate stays in the idle slot, and all else is as it was. */
function unflip(model: Model, before: Model, operation: Operation): void {
  const { live } = model
  become(model, before)
  if (operation.name === 'deploy') model.idle = live
}

const crash = (torn: number): Command =>
  command(`slotgate crashes${torn ? `, ${torn} bytes into a line` : ''}`, async (model, system) => {
    restart(model)
    await system.crash(torn)
  })

const migrate = (schema: number): Command =>
  command(`migrate(${schema})`, async (model, system) => {
    model.schema = schema
    system.schema = schema
  })

const endApp = (which: 'live' | 'idle'): Command =>
  command(
    `${which} dies`,
    async (model, system) => {
      const resident = model[which]
      if (resident) resident.runs = false
      await system.endApp(system[which])
    },
    (model) => model[which]?.runs === true,
  )

const health = (release: ReleaseName, isSick: boolean): Command =>
  command(`${release} is ${isSick ? 'sick' : 'well'}`, async (model, system) => {
    for (const { sick } of [model, system]) isSick ? sick.add(release) : sick.delete(release)
  })

const booting = (fails: boolean): Command =>
  command(`boots ${fails ? 'fail' : 'work'}`, async (model, system) => {
    model.bootsFail = fails
    system.bootsFail = fails
  })

const hold = (): Command =>
  command(
    'a long request begins',
    (_, system) => system.hold(),
    ({ live, paused }) => live?.runs === true && !paused,
  )

const pause = (paused: boolean): Command =>
  command(paused ? 'pause' : 'resume', async (model, system) => {
    model.paused = paused
    const context = { actor: 'ops' }
    await system.call((control) =>
      paused ? control.pause(SERVICE, null, context) : control.resume(SERVICE, context),
    )
  })

const finish = (): Command =>
  command('the oldest open request ends', async (_, system) => {
    const oldest = system.held.find(({ isOpen }) => isOpen)
    if (oldest && !(await system.finish(oldest))) throw new Error(`${oldest.id} did not come to its end`)
  })

/** Drains end, the looks after a flip are over, and what died is back. */
const pass = (): Command =>
  command('a minute passes', async (model, system) => {
    const { generation } = model
    passLongTime(model)
    if (model.generation > generation) count('a minute: flipped back')
    await system.pass(LONG_MS)
    const late = system.held.find(({ isOpen, app }) => isOpen && app !== system.live)
    if (late) throw new Error(`${late.id} of ${late.app.bootId} is still open a minute later`)
  })

/** Those that fit often are drawn often, or hardly anything would ever go live. */
const releases = fc.constantFrom<ReleaseName>(...RELEASE_NAMES, 'mid', 'wide', 'wide', 'old')
const versions = fc.integer({ min: 40, max: 46 })
const staging = fc.record({ name: fc.constant('stage' as const), release: releases })
const deploying = fc.record({ name: fc.constant('deploy' as const), release: releases })
const promoting = fc.constant({ name: 'promote' as const })
const rollingBack = fc.record(
  { name: fc.constant('rollback' as const), to: releases },
  { requiredKeys: ['name'] },
)
const offs = fc.constantFrom(null, null, null, null, null, 0, -1, 1)
const drafts: fc.Arbitrary<Draft> = fc.record({
  operation: fc.oneof(deploying, deploying, staging, promoting, rollingBack, rollingBack),
  off: offs,
  exclusive: fc.boolean(),
})
const forward = fc.record({
  operation: fc.oneof(deploying, promoting),
  off: fc.constant(null),
  exclusive: fc.constant(false),
})
const meanwhiles: fc.Arbitrary<Meanwhile> = fc.record({
  look: fc.constantFrom(1 as const, 2 as const),
  what: fc.oneof(
    fc.record({ migrateTo: versions }),
    fc.constantFrom('the candidate dies' as const, 'live dies' as const),
  ),
})
const usuallyNot = fc.constantFrom(true, false, false)
const fates = fc.constantFrom<Fate>('refused', 'lost', 'torn', 'written')

/** Operations more often than accidents, or nothing would ever be live. */
const COMMANDS = [
  drafts.map(operate),
  drafts.map(operate),
  drafts.map(operate),
  drafts.map(operate),
  versions.map(migrate),
  fc.tuple(forward, meanwhiles).map(([draft, meanwhile]) => meeting(draft, meanwhile)),
  fc.tuple(drafts, fates).map(([draft, fate]) => withFate(draft, fate)),
  fc.tuple(drafts, drafts).map(([one, other]) => together(one, other)),
  fc.constantFrom(0, 0, 1, 20).map(crash),
  fc.constantFrom('live' as const, 'idle' as const).map(endApp),
  fc.tuple(releases, usuallyNot).map(([release, isSick]) => health(release, isSick)),
  usuallyNot.map(booting),
  usuallyNot.map(pause),
  fc.constant(null).map(hold),
  fc.constant(null).map(finish),
  fc.constant(null).map(pass),
]

const LONGEST_RUN = 24
/** Half of the runs begin with these live one after the other; the others with nothing. */
const HISTORY = ['old', 'mid', 'wide'] as const

async function begin(model: Model, system: System, release: ReleaseName): Promise<void> {
  const operation = { name: 'deploy' as const, release }
  const wanted = act(model, operation)
  const [got] = await system.call(callOf(operation))
  if (got !== wanted) throw new Error(`${release} was answered ${got} at the beginning`)
}

/** @returns null, or the smallest run of commands that shows what is wrong, with its seed and path */
export async function runModel(options: {
  runs: number
  seed: number
  path?: string
}): Promise<string | null> {
  const { runs: numRuns, seed, path } = options
  const property = fc.asyncProperty(
    fc.boolean(),
    fc.commands(COMMANDS, { maxCommands: LONGEST_RUN, size: 'max' }),
    async (hasHistory, commands) => {
      const system = await System.start()
      try {
        const model = newModel()
        if (hasHistory) for (const release of HISTORY) await begin(model, system, release)
        await fc.asyncModelRun(() => ({ model, real: system }), commands)
      } finally {
        await system.end()
      }
    },
  )
  const details = await fc.check(property, { numRuns, seed, ...(path !== undefined && { path }) })
  if (!details.failed) return null
  const why = details.errorInstance instanceof Error ? details.errorInstance.message : details.errorInstance
  return `${why}\n${fc.defaultReportMessage(details)}`
}
