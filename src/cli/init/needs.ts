// What an app has to provide, and whether its code speaks of it: a hint for who sets it up, never a verdict.
import type { Git } from '../../slots/drivers/git-command.ts'

export interface Need {
  what: string
  /** A file that speaks of it; null where none does. */
  seenIn: string | null
}

/** Each with the words that code which has it is likely to have; the kit has both internal paths. */
const NEEDS: readonly { what: string; words: readonly string[] }[] = [
  { what: 'listens on $HOST:$PORT, for the world', words: ['PORT'] },
  { what: 'listens on $HOST:$INTERNAL_PORT, for slotgate alone', words: ['INTERNAL_PORT'] },
  { what: 'internal: GET /healthz answers 200 when it is ready', words: ['/healthz', 'slotgate/kit'] },
  {
    what: 'internal: GET /schema/status says how its code fits the database (docs/contract.md; Node: slotgate/kit)',
    words: ['/schema/status', 'slotgate/kit'],
  },
]

/** What only its authors can know, and what goes wrong most. */
export const PROMISES = [
  'does not migrate when it starts: POST /migrations/run, or your own tool, does',
  'ends by itself on SIGTERM, after its open requests',
]

/** Prose and lockfiles speak of much that the code does not do. */
const CODE = ['.', ':!*.md', ':!*.lock', ':!*lock.json', ':!proxy.config.yaml']

export async function needsOf(git: Git): Promise<Need[]> {
  return Promise.all(
    NEEDS.map(async ({ what, words }) => {
      const patterns = words.flatMap((word) => ['-e', word])
      const search = ['grep', '--untracked', '--files-with-matches', '--fixed-strings', '--word-regexp']
      const { stdout } = await git([...search, ...patterns, '--', ...CODE])
      return { what, seenIn: stdout.split('\n', 1)[0] || null }
    }),
  )
}
