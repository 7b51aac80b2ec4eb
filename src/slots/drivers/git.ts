// Releases that are commits: each is checked out beside those that run, set up once, and booted as any other process.
import type { GitReleases } from '../../config/types.ts'
import { Checkouts } from './checkouts.ts'
import type { Driver, Instance } from './driver.ts'
import { createProcessDriver, type ProcessDriverOptions } from './process.ts'

export interface GitDriverOptions extends Omit<ProcessDriverOptions, 'source' | 'releases'> {
  releases: GitReleases
}

/** @param giveUp is called when the process has ended, or is followed no longer */
function held(instance: Instance, giveUp: () => void): Instance {
  void instance.exited.then(giveUp)
  const letGo = () => {
    instance.letGo()
    giveUp()
  }
  return { ...instance, letGo }
}

export function createGitDriver(options: GitDriverOptions): Driver {
  const { service, stateDir, log, releases } = options
  const { repo, checkoutWithinMs, keep, shared } = releases
  const checkouts = new Checkouts({ service, repo, checkoutWithinMs, keep, shared, stateDir, log })
  const driver = createProcessDriver({ ...options, source: checkouts })

  /** A checkout stays as long as a process runs in it, also one that lost its slot and drains. */
  async function holding<Found extends Instance | null>(release: string, work: () => Promise<Found>) {
    const giveUp = checkouts.hold(release)
    try {
      const instance = await work()
      if (!instance) giveUp()
      return instance && held(instance, giveUp)
    } catch (error) {
      giveUp()
      throw error
    }
  }

  return {
    ...driver,
    isFixed: true,
    boot: (request) => holding(request.release, () => driver.boot(request)),
    find: (release, slot) => holding(release, () => driver.find(release, slot)),
    tidy: (needed) => checkouts.tidy(needed),
    close: () => checkouts.close(),
  }
}
