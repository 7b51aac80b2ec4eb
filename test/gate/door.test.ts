// The rollback door, from what releases declared earlier: open, closed, or not known.
import t from 'tap'
import { type DoorFacts, doorOf } from '../../src/gate/door.ts'

const ranges = { r41: { min: 40, max: 42 }, r42: { min: 41, max: 43 }, r43: { min: 42, max: 43 } }

const door = (more: Partial<DoorFacts>) =>
  doorOf({ previous: ['r43', 'r42', 'r41'], ranges, current: 43, schemaOff: false, misfit: null, ...more })

t.test('open to the newest release that fits', async (t) => {
  t.match(door({}), { open: true, to: 'r43', code: null, evidence: 'recorded' })
})

t.test('open to an older one where the newest does not fit, and it says how to go there', async (t) => {
  const { open, to, sentence } = door({ current: 41 })
  t.strictSame({ open, to }, { open: true, to: 'r42' })
  t.match(sentence, /slotgate rollback --to r42/)
})

t.test('not open to one that says itself that it does not fit, but to an older one that may', async (t) => {
  const sentence = 'r43 works with schema 42 to 42; the database is already at 43.'
  const misfit = { release: 'r43', reason: { code: 'schema_ahead_of_code' as const, sentence } }
  t.match(door({ misfit }), {
    open: true,
    to: 'r42',
    evidence: 'recorded',
    sentence: /slotgate rollback --to r42/,
  })
  const closed = {
    open: false,
    to: 'r43',
    code: 'schema_ahead_of_code',
    sentence,
    evidence: 'probed',
  }
  t.match(door({ misfit, previous: ['r43', 'r41'] }), closed)
  t.match(door({ misfit, previous: ['r43', 'r40'] }), { open: null, to: 'r40' }, 'nobody knows of r40')
  t.match(door({ misfit, current: 44 }), { code: 'schema_ahead_of_code', evidence: 'recorded' })
})

t.test('not open to an older one where what the newest says may be wrong for all', async (t) => {
  for (const code of ['schema_dirty', 'schema_declared_incompatible'] as const) {
    const misfit = { release: 'r43', reason: { code, sentence: 'Number 41 is not what it was.' } }
    const closed = { open: false, to: 'r43', code, sentence: /^Number 41/, evidence: 'probed' }
    t.match(door({ misfit }), closed)
    t.match(door({ misfit, previous: ['r43', 'r40'] }), closed, 'whatever nobody knows of r40')
  }
})

t.test('closed when none fits, for the reason of the one that a plain rollback goes to', async (t) => {
  t.match(door({ current: 44 }), {
    open: false,
    to: 'r43',
    code: 'schema_ahead_of_code',
    sentence: 'r43 works with schema 42 to 43; the database is at 44. Nor do the 2 before it.',
  })
  t.match(door({ current: 44, previous: ['r43', 'r42'] }).sentence, / Nor does r42\.$/)
  t.match(door({ current: 39, previous: ['r41'] }), { open: false, to: 'r41', code: 'schema_behind_code' })
})

t.test(
  'a release that never declared its range is not taken for one that fits, nor for one that does not',
  async (t) => {
    t.match(door({ previous: ['r40'] }), { open: null, to: 'r40', code: null })
    t.match(door({ previous: ['r43', 'r40'], current: 44 }), { open: null, to: 'r40' })
    t.match(
      door({ previous: ['r40', 'r42'] }),
      { open: true, to: 'r42' },
      'another that is known to fit is enough',
    )
    t.match(door({ previous: ['constructor'] }), { open: null }, 'an inherited name is no range')
  },
)

t.test('not known while nobody says where the schema is', async (t) => {
  t.match(door({ current: null }), { open: null, to: 'r43' })
})

t.test('closed where there is nothing to go back to, whatever the schema', async (t) => {
  t.match(door({ previous: [], current: null }), { open: false, to: null, code: 'no_previous_release' })
})

t.test('open where schemas are not checked, and it says so', async (t) => {
  t.match(door({ schemaOff: true, current: null }), { open: true, to: 'r43', code: 'schema_check_disabled' })
})
