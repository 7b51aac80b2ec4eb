// The metrics, as the rest of slotgate sees them: what happens is counted from the start, and what makes Prometheus' text of it
// is loaded when somebody asks for it.
import type { Feed } from '../../switch/feed.ts'
import { History } from './history.ts'
import type { Sources } from './prometheus.ts'

export interface Metrics {
  /** What the text is, as `Content-Type`. */
  readonly contentType: string
  /** All of them, as they are now. */
  text(): Promise<string>
}

export interface MetricsOptions extends Sources {
  feed: Feed
  /** By service, the ISO time at which its pointer moved last; null: never. */
  lastFlips: ReadonlyMap<string, string | null>
  /** Ends following the feed. */
  signal: AbortSignal
}

export function createMetrics(options: MetricsOptions): Metrics {
  const history = new History(options.lastFlips)
  void follow(options.feed, history, options.signal)
  let tell: (() => Promise<string>) | undefined
  return {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    async text() {
      // Asked for each time: where it cannot be loaded once, it may be the next time.
      const { createTeller } = await import('./prometheus.ts')
      tell ??= createTeller(options, history)
      return tell()
    },
  }
}

async function follow(feed: Feed, history: History, signal: AbortSignal): Promise<void> {
  const ending = new AbortController()
  signal.addEventListener('abort', () => ending.abort(), { once: true })
  for await (const events of feed.read({ kinds: ['record', 'step'], ending }, () => []))
    for (const event of events) history.take(event)
}
