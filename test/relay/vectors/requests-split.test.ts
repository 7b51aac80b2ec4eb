// Every request vector, cut at every byte and byte by byte, against an app that records what reaches it (HTTP.md §2.2 (7)).
import '../../support/without-domains.ts'
import t from 'tap'
import {
  cutPlays,
  judge,
  type Played,
  playAll,
  playOne,
  REQUESTS,
  type RequestVector,
  startWorld,
  type World,
  wholePlay,
} from './support.ts'

/** Longer ones are cut where it matters, not everywhere. */
const SHORT_BYTES = 600
/** Near the limits of the relay's head, and of its fields, of lines of five bytes. */
const NEAR = [16, 17, 40, 41, 60, 16_383, 16_384, 16_385, 16_386, 16_387, 16_390]
const CUTS_OF_LONG = 48

/** At every byte of a short vector; at line ends, limits, the end and evenly spread places of a long one. */
function cutsOf({ raw }: RequestVector): number[] {
  if (raw.length <= SHORT_BYTES) return Array.from({ length: raw.length - 1 }, (_, nth) => nth + 1)
  const spread = Array.from({ length: CUTS_OF_LONG }, (_, nth) =>
    Math.floor((raw.length * nth) / CUTS_OF_LONG),
  )
  const atEnd = [1, 2, 3, 4, 5, 6].map((back) => raw.length - back)
  return [...new Set([...NEAR, ...spread, ...atEnd])].filter((cut) => cut > 0 && cut < raw.length)
}

/** Bytes of a long vector that come one by one: its beginning, what is around the limit of the head, its end. */
function dripOf({ raw }: RequestVector): number[] {
  const all = Array.from({ length: raw.length - 1 }, (_, nth) => nth + 1)
  return all.filter((cut) => cut < 300 || (cut > 16_300 && cut < 16_500) || cut > raw.length - 100)
}

/** How the vector fares whole, cut at each place, and byte by byte. */
async function playCut(world: World, vector: RequestVector): Promise<[whole: Played, ...cut: Played[]]> {
  const play = wholePlay(vector)
  const whole = await playOne(world, play)
  const cuts = cutPlays(vector, whole, cutsOf(vector))
  return [whole, ...(await playAll(world, [...cuts, { ...play, cuts: dripOf(vector) }]))]
}

t.test('a request that is cut somewhere reaches the relay in as many pieces', async (t) => {
  const world = await startWorld(t)
  for (const name of ['get-with-body', 'te-case-and-ows']) {
    const vector = REQUESTS.find((one) => one.name === name)
    if (!vector) throw new Error(`there is no ${name}`)
    const played = await playCut(world, vector)
    t.same(
      played.map(({ apart }) => apart),
      played.map(({ play }) => play.cuts.length),
      name,
    )
  }
})

const outcomeOf = ({ answers }: Played) => answers.map(({ status }) => status).join(' ')

/** Those that follow each other on one connection are all cut, which is seen only here if the relay was busy. */
const judgeApart = (played: readonly Played[]): string[] =>
  played
    .filter(({ play, apart }) => play.copies !== undefined && play.copies > 1 && apart < play.cuts.length)
    .map(({ play, apart }) => `${apart} of ${play.cuts.length} pieces were read by themselves`)

/** How the client fares must not depend on how its bytes were cut. */
function judgeSame([whole, ...cut]: [Played, ...Played[]]): string[] {
  const wanted = ({ play: { copies = 1 } }: Played) => Array(copies).fill(outcomeOf(whole)).join(' ')
  return cut
    .filter((one) => outcomeOf(one) !== wanted(one))
    .map(
      (one) =>
        `whole ${outcomeOf(whole)}, cut at ${one.play.cuts.slice(0, 3)} of ${one.play.cuts.length}: ${outcomeOf(one)}`,
    )
}

for (const group of [...new Set(REQUESTS.map((one) => one.group))].sort()) {
  t.test(`request vectors ${group}, cut at every byte, get the outcome they have whole`, async (t) => {
    const world = await startWorld(t)
    for (const vector of REQUESTS.filter((one) => one.group === group)) {
      const played = await playCut(world, vector)
      const problems = [...judgeSame(played), ...judgeApart(played), ...(await judge(world, vector, played))]
      t.same(problems.slice(0, 5), [], `${vector.name}: ${played.length} connections`)
    }
  })
}
