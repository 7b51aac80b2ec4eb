// A signed call counts once: in one process, fifty times at once, after a restart, and when the clock goes back.
import t from 'tap'
import { NonceStore } from '../../src/admin/nonces.ts'
import { freePorts } from '../../src/slots/free-ports.ts'
import { forge, knock, openDoor } from '../admin/door.ts'

const PROMOTE = { method: 'POST', target: '/v1/services/invoices/promote' }

t.test('a call sent again is refused and not made again', async (t) => {
  const door = await openDoor(t)
  const request = forge(door, PROMOTE)
  t.equal((await knock(door.port, request)).status, 200)
  const { status, json } = await knock(door.port, request)
  t.match({ status, json }, { status: 409, json: { code: 'replayed' } })
  t.equal(door.calls.length, 1)
  t.match(door.audit.at(-1), { decision: 'replayed', key_id: 'ops', action: 'promote' })
})

t.test('of fifty replays at once exactly one succeeds', async (t) => {
  const door = await openDoor(t)
  const request = forge(door, PROMOTE)
  const answers = await Promise.all(Array.from({ length: 50 }, () => knock(door.port, request)))
  const statuses = answers.map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 200).length, 1)
  t.equal(statuses.filter((status) => status === 409).length, 49)
  t.equal(door.calls.length, 1)
})

t.test('of fifty replays at once of a call that is a second early exactly one succeeds', async (t) => {
  const door = await openDoor(t)
  const created = Math.floor(Date.now() / 1000) + 1
  const request = forge(door, { ...PROMOTE, params: { created, expires: created + 60 } })
  const answers = await Promise.all(Array.from({ length: 50 }, () => knock(door.port, request)))
  t.equal(answers.filter(({ status }) => status === 200).length, 1)
  t.equal(door.calls.length, 1)
  t.ok(Date.now() >= created * 1000, 'and not before its time')
})

t.test('the same nonce under another key is another nonce', async (t) => {
  const door = await openDoor(t)
  const params = { nonce: 'the-same-nonce-for-both-keys' }
  t.equal((await knock(door.port, forge(door, { params }))).status, 200)
  t.equal((await knock(door.port, forge(door, { params, keyid: 'viewer' }))).status, 200)
})

t.test('a refused call does not use up its nonce', async (t) => {
  const door = await openDoor(t)
  const params = { nonce: 'a-nonce-that-is-tried-twice' }
  const forged = forge(door, { params: { ...params, keyid: 'machine' } })
  t.equal((await knock(door.port, forged)).status, 401)
  const tampered = { ...forge(door, { ...PROMOTE, params }), body: '{}' }
  t.equal((await knock(door.port, tampered)).status, 400)
  t.equal((await knock(door.port, forge(door, { params }))).status, 200)
})

t.test('after a restart, what the process before accepted is refused', async (t) => {
  // At a port that nobody takes between the two.
  const [port] = await freePorts()
  const before = await openDoor(t, { port })
  const request = forge(before, PROMOTE)
  const created = Math.floor(Date.now() / 1000) + 1
  const early = forge(before, { ...PROMOTE, params: { created, expires: created + 60 } })
  t.equal((await knock(before.port, request)).status, 200)
  t.equal((await knock(before.port, early)).status, 200)
  await before.admin.close()

  const after = await openDoor(t, { port, acceptSignedAfterMs: Date.now() })
  for (const replay of [request, early]) {
    const { status, json } = await knock(after.port, replay)
    t.match({ status, json }, { status: 401, json: { code: 'signature_refused' } })
  }
  t.match(after.audit[0]?.reason, /before slotgate started/)
  t.same(after.calls, [])
  t.equal(
    (await knock(after.port, forge(after, PROMOTE))).status,
    200,
    'a call signed now is accepted at once',
  )
})

t.test('a journal that is ahead of the clock keeps what was signed before it out', async (t) => {
  const door = await openDoor(t, { acceptSignedAfterMs: Date.now() + 60_000 })
  t.equal((await knock(door.port, forge(door, PROMOTE))).status, 401)
  t.same(door.calls, [])
})

t.test('a clock that goes back opens no replay in the same process', async (t) => {
  let offsetMs = 0
  const door = await openDoor(t, { now: () => Date.now() + offsetMs })
  const request = forge(door, PROMOTE)
  t.equal((await knock(door.port, request)).status, 200)
  offsetMs = 3_600_000
  t.equal((await knock(door.port, request)).status, 401)
  offsetMs = 0
  t.equal((await knock(door.port, request)).status, 409)
})

t.test('a full store refuses new nonces and forgets only those whose time has ended', async (t) => {
  const store = new NonceStore(2)
  t.equal(store.remember('ops', 'a', 100, 50), 'new')
  t.equal(store.remember('ops', 'b', 200, 50), 'new')
  t.equal(store.remember('ops', 'c', 200, 100), 'full', 'a still counts in its last second')
  t.equal(store.remember('ops', 'a', 100, 100), 'seen')
  t.equal(store.remember('ops', 'c', 200, 101), 'new', 'now a has made room')
  t.equal(store.remember('ops', 'b', 200, 101), 'seen')
  t.equal(store.remember('ops', 'a', 100, 60), 'forgotten', 'the clock went back, and a stays out')
})
