// Advice before a migration: the table of SCHEMA §4.3 and the scenarios, and against a naive model that tries every version.
import fc from 'fast-check'
import t from 'tap'
import type { Range } from '../../src/contract.ts'
import { type AdviceFacts, type AdviceVerdict, adviceOn, type Concerned } from '../../src/gate/advice.ts'
import { doorOf } from '../../src/gate/door.ts'

const declared = (release: string, min: number, max: number): Concerned => ({ release, range: { min, max } })
const silent = (release: string): Concerned => ({ release, range: null })

const facts = (more: Partial<AdviceFacts>): AdviceFacts => ({
  to: 44,
  current: 43,
  live: declared('r44', 43, 44),
  previous: [],
  staged: null,
  schemaOff: false,
  ...more,
})

interface Row {
  what: string
  given: Partial<AdviceFacts>
  verdict: AdviceVerdict | null
  breaks?: string[]
  opens?: string[]
  highest?: number | null
  says?: RegExp
  hints?: RegExp
}

const TABLE: Row[] = [
  {
    what: 'A05: advice before the drop says live would break',
    given: { live: declared('r43', 42, 43), staged: declared('r44', 44, 44) },
    verdict: 'breaks_live',
    breaks: ['r43'],
    opens: ['r44'],
    says: /r43 works with schema 42 to 43 and serves: at 44 it would not work any more/,
    hints: /ship an intermediate release whose range contains 43 and 44\./,
  },
  {
    what: 'live does not work as it is, and would not further on either',
    given: { live: declared('r42', 41, 42), to: 44 },
    verdict: 'breaks_live',
    breaks: [],
    says: /r42 works with schema 41 to 42 and serves: it does not work at 43 as it is, nor would it at 44\./,
    hints: /whose range contains 43 and 44\./,
  },
  {
    what: 'live does not work as it is, and nothing would change',
    given: { live: declared('r42', 41, 42), to: 43 },
    verdict: 'breaks_live',
    breaks: [],
    says: /and serves: it does not work at 43 as it is\./,
    hints: /whose range contains 43\./,
  },
  {
    what: 'A08: the last step of a rename',
    given: { previous: [declared('r43', 43, 44)] },
    verdict: 'two_way_door',
    highest: 44,
    says: /a rollback stays possible: r43 works with schema 43 to 44/,
  },
  {
    what: 'D10: the release before stops at 43',
    given: { previous: [declared('r43', 42, 43)] },
    verdict: 'one_way_door',
    breaks: ['r43'],
    highest: 43,
    says: /no release would be left to go back to: r43 works with schema 42 to 43\./,
    hints: /first deploy another release that works with 44: then r44 is what a rollback goes to/,
  },
  {
    what: 'an older release keeps the door open where the newest closes',
    given: { previous: [declared('r43', 42, 43), declared('r42', 41, 44)] },
    verdict: 'two_way_door',
    breaks: ['r43'],
    highest: 44,
    says: /r42 works with schema 41 to 44/,
  },
  {
    what: 'a smaller step would keep a way back',
    given: { to: 45, live: declared('r44', 43, 46), previous: [declared('r43', 42, 44)] },
    verdict: 'one_way_door',
    breaks: ['r43'],
    highest: 44,
    hints: /A migration to 44 instead would keep a way back/,
  },
  {
    what: 'there is no earlier release',
    given: {},
    verdict: 'no_rollback_target',
    says: /there is no earlier release/,
  },
  {
    what: 'no earlier release fits as it is, so nothing closes',
    given: { previous: [declared('r42', 41, 42)] },
    verdict: 'no_rollback_target',
    says: /r42 works with schema 41 to 42/,
  },
  {
    what: 'nothing is live: nothing that serves can break',
    given: { current: null, live: null, staged: silent('r1') },
    verdict: 'no_rollback_target',
    says: /Nothing is live/,
  },
  {
    what: 'live 41–42, candidate 43: the words for an agent, with the right numbers',
    given: { to: 43, current: 42, live: declared('r42', 41, 42), staged: declared('r43', 43, 43) },
    verdict: 'breaks_live',
    breaks: ['r42'],
    opens: ['r43'],
    hints:
      /No order of promote and migrate avoids an outage: ship an intermediate release whose range contains 42 and 43\./,
  },
  {
    what: 'what is staged is the cure: it knows both versions',
    given: { to: 44, live: declared('r43', 42, 43), staged: declared('r44', 43, 44) },
    verdict: 'breaks_live',
    breaks: ['r43'],
    hints: /Promote r44 first: it works with 43 and with 44/,
  },
  {
    what: 'live does not fit even now, and the migration does not help it',
    given: { current: 44, to: 45, live: declared('r43', 42, 43) },
    verdict: 'breaks_live',
    breaks: [],
  },
  {
    what: 'live does not fit now, and the migration is the cure',
    given: { current: 42, to: 43, live: declared('r43', 43, 44), previous: [declared('r42', 42, 43)] },
    verdict: 'two_way_door',
    opens: ['r43'],
    highest: 43,
  },
  {
    what: 'live never said its range',
    given: { live: silent('r44'), previous: [declared('r43', 42, 44)] },
    verdict: null,
    says: /r44 never said which schema versions it works with, and it serves/,
  },
  {
    what: 'the only earlier release never said its range',
    given: { previous: [silent('r43')] },
    verdict: null,
    says: /r43 never said which schema versions it works with: whether a rollback would stay possible/,
  },
  {
    what: 'one earlier release never said its range, but another is known to fit',
    given: { previous: [silent('r43'), declared('r42', 40, 44)] },
    verdict: 'two_way_door',
    highest: 44,
  },
  {
    what: 'nobody says where the schema is, so whether there is a way to close is not known',
    given: { current: null, previous: [declared('r43', 42, 43)] },
    verdict: null,
    says: /does not say where the schema is/,
  },
  {
    what: 'nobody says where the schema is, but live is known not to fit',
    given: { current: null, live: declared('r43', 42, 43) },
    verdict: 'breaks_live',
    breaks: [],
    hints: /whose range contains 44\./,
  },
  {
    what: 'a service that is not asked for its schema',
    given: { schemaOff: true },
    verdict: null,
    says: /schema: off/,
  },
]

for (const { what, given, verdict, breaks = [], opens = [], highest = null, says, hints } of TABLE) {
  t.test(`${what}: ${verdict ?? 'not known'}`, async (t) => {
    const advice = adviceOn(facts(given))
    t.equal(advice.verdict, verdict)
    t.strictSame(advice.breaks, breaks)
    t.strictSame(advice.opens, opens)
    t.equal(advice.highest_two_way, highest)
    if (says) t.match(advice.sentence, says)
    if (hints) t.match(advice.hint, hints)
  })
}

t.test('no common version is a warning beside the verdict, for it is about what is staged', async (t) => {
  const apart = { live: declared('r42', 41, 42), staged: declared('r43', 43, 43) }
  const { warnings } = adviceOn(facts({ ...apart, current: 42 }))
  t.match(warnings, [{ code: 'no_common_schema_version', bridge_from: 42, bridge_to: 43 }])
  t.strictSame(adviceOn(facts({ ...apart, current: 43 })).warnings, [], 'the switch itself is the cure')
  t.strictSame(adviceOn(facts({ staged: declared('r45', 44, 45) })).warnings, [])
  t.match(adviceOn(facts({ schemaOff: true })).warnings, [{ code: 'schema_check_disabled' }])
})

t.test('a release that no longer fits is not in the list twice, and each says how it fits', async (t) => {
  const { per_release } = adviceOn(facts({ previous: [silent('r43')], staged: declared('r45', 44, 45) }))
  t.strictSame(per_release, [
    { release: 'r44', range: { min: 43, max: 44 }, role: 'live', fits_now: true, fits_then: true },
    { release: 'r45', range: { min: 44, max: 45 }, role: 'staged', fits_now: false, fits_then: true },
    { release: 'r43', range: null, role: 'previous', fits_now: null, fits_then: null },
  ])
})

// The model: a range is the list of its versions, or, where unknown, any list there could be.

const TOP = 6
const VERSIONS = Array.from({ length: TOP + 1 }, (_, version) => version)
const listOf = ({ min, max }: Range) => VERSIONS.filter((version) => version >= min && version <= max)

const version = fc.integer({ min: 0, max: TOP })
const range = fc.record({ min: version, max: version })
const concerned = (name: string) =>
  fc.record({ release: fc.constant(name), range: fc.option(range, { freq: 4 }) })
const situations: fc.Arbitrary<AdviceFacts> = fc.record({
  to: version,
  current: fc.option(version, { freq: 5 }),
  live: fc.option(concerned('live'), { freq: 8 }),
  previous: fc
    .array(fc.option(range, { freq: 4 }), { maxLength: 3 })
    .map((ranges) => ranges.map((each, n) => ({ release: `p${n}`, range: each }))),
  staged: fc.option(concerned('staged')),
  schemaOff: fc.constant(false),
})

interface World {
  to: number
  current: number
  live: number[] | null
  previous: number[][]
}

/** The table of SCHEMA §4.3, where everything is known. */
function modelVerdict({ to, current, live, previous }: World): AdviceVerdict {
  if (live && !live.includes(to)) return 'breaks_live'
  if (previous.some((versions) => versions.includes(to))) return 'two_way_door'
  return previous.some((versions) => versions.includes(current)) ? 'one_way_door' : 'no_rollback_target'
}

/**
 * Every world that the facts allow. For a verdict only two versions count, so an unknown range is one of the four ways to
 * know these two or not.
 */
function* worlds({ to, current, live, previous }: AdviceFacts): Generator<World> {
  for (const now of current === null ? VERSIONS : [current]) {
    const lists = (one: Concerned): number[][] =>
      one.range ? [listOf(one.range)] : [[], [to], [now], [now, to]]
    const choices = previous
      .map(lists)
      .reduce<number[][][]>(
        (all, some) => all.flatMap((chosen) => some.map((list) => [...chosen, list])),
        [[]],
      )
    for (const liveList of live ? lists(live) : [null]) {
      for (const chosen of choices) yield { to, current: now, live: liveList, previous: chosen }
    }
  }
}

t.test(
  'the verdict is what holds in every world that the facts allow, and null where worlds differ',
  async () => {
    fc.assert(
      fc.property(situations, (situation) => {
        const verdicts = new Set([...worlds(situation)].map(modelVerdict))
        const [only] = verdicts
        const expected = verdicts.size === 1 ? only : null
        const { verdict } = adviceOn(situation)
        // An unknown current is one of all versions; those below the model's smallest are not tried, so null may be more careful.
        if (situation.current === null && verdict === null) return
        if (verdict !== expected) throw new Error(`${verdict}, not ${expected}`)
      }),
      { numRuns: 5_000 },
    )
  },
)

t.test('the highest two-way version is the highest that would be a two-way door', async () => {
  fc.assert(
    fc.property(situations, (situation) => {
      const { current, live } = situation
      const twoWay = VERSIONS.filter(
        (to) =>
          live !== null &&
          current !== null &&
          to >= current &&
          adviceOn({ ...situation, to }).verdict === 'two_way_door',
      )
      const found = adviceOn(situation).highest_two_way
      if (found !== (twoWay.at(-1) ?? null)) throw new Error(`${found}, not ${twoWay.at(-1)}`)
    }),
    { numRuns: 5_000 },
  )
})

t.test('what breaks fits now and not then, what opens the other way round, and nothing is both', async () => {
  fc.assert(
    fc.property(situations, (situation) => {
      const { breaks, opens, per_release } = adviceOn(situation)
      const { current, to } = situation
      for (const { release, range: known } of per_release) {
        const now = known !== null && current !== null && listOf(known).includes(current)
        const then = known !== null && listOf(known).includes(to)
        const isKnown = known !== null && current !== null
        if (breaks.includes(release) !== (isKnown && now && !then)) throw new Error(`${release} breaks?`)
        if (opens.includes(release) !== (isKnown && !now && then)) throw new Error(`${release} opens?`)
      }
    }),
    { numRuns: 5_000 },
  )
})

t.test('a migration to where the schema is leaves the door as the status shows it', async () => {
  fc.assert(
    fc.property(situations, (situation) => {
      const { current, live, previous } = situation
      if (current === null || live?.range == null || !listOf(live.range).includes(current)) return
      const known = previous.flatMap(({ release, range: each }) => (each ? [[release, each] as const] : []))
      const { open } = doorOf({
        previous: previous.map(({ release }) => release),
        ranges: Object.fromEntries(known),
        current,
        schemaOff: false,
        misfit: null,
      })
      const { verdict } = adviceOn({ ...situation, to: current })
      const expected = { true: 'two_way_door', false: 'no_rollback_target', null: null }[`${open}`]
      if (verdict !== expected) throw new Error(`${verdict} where the door is ${open}`)
    }),
    { numRuns: 5_000 },
  )
})
