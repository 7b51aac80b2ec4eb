// From what a caller calls a commit to the commit itself, or to a sentence about why it is none.
import { SlotgateError } from '../../errors.ts'
import type { Git } from './git-command.ts'

/** A whole commit hash: SHA-1, or SHA-256. */
export const isCommitHash = (text: string): boolean => /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text)

/**
 * @param name a commit, a part of one, a branch, a tag, or any other way to say it that git knows
 * @param repo for the sentences
 * @returns the whole commit hash
 * @throws SlotgateError `unknown_commit`, `ambiguous_commit`, `repository_unusable`
 */
export async function resolveCommit(git: Git, name: string, repo: string): Promise<string> {
  const asked = ['rev-parse', '--verify', '--end-of-options', `${name}^{commit}`]
  const { ok, stdout, stderr } = await git(asked)
  const commit = stdout.trim()
  // A whole hash is that commit, also where somebody has named a branch like it.
  const isAmbiguous = / is ambiguous/.test(stderr) && !isCommitHash(name)
  if (ok && isCommitHash(commit) && !isAmbiguous) return commit
  if (isAmbiguous) {
    const candidates = await candidatesOf(git, name, stderr)
    throw new SlotgateError('ambiguous_commit', { name, repo, candidates })
  }
  await checkRepository(git, repo)
  throw new SlotgateError('unknown_commit', { name, repo })
}

/** What git takes a name for: references of that name, and commits that begin so. */
async function candidatesOf(git: Git, name: string, complaint: string): Promise<string[]> {
  const places = ['heads', 'tags', 'remotes'].map((place) => `refs/${place}/${name}`)
  const { stdout } = await git(['for-each-ref', '--format=%(refname)', ...places])
  const commits = [...complaint.matchAll(/^hint: +([0-9a-f]+ commit .*)$/gm)].map(([, text = '']) => text)
  const found = [...stdout.split('\n').filter(Boolean), ...commits]
  return found.length > 0 ? found : [complaint]
}

/** @throws SlotgateError `repository_unusable` */
async function checkRepository(git: Git, repo: string): Promise<void> {
  const { ok, stderr } = await git(['rev-parse', '--git-dir'])
  if (!ok) throw new SlotgateError('repository_unusable', { repo, detail: stderr })
}
