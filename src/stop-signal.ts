// The signals that end slotgate, in order at the first, at once at the second.

/** One Ctrl-C under npm arrives twice, from the terminal and from npm; only a later one is a second. */
const SAME_SIGNAL_MS = 500

/**
 * From here on the signals are waited for, so that one during the start leaves nothing behind that was booted.
 *
 * @param onSecond is told of the second one, a moment before the process ends by it
 * @returns resolves with the first one
 */
export function stopSignal(
  signals: readonly NodeJS.Signals[],
  onSecond: (signal: NodeJS.Signals) => void,
): Promise<void> {
  return new Promise((resolve) => {
    let firstAt = 0
    for (const signal of signals) {
      process.on(signal, () => {
        firstAt ||= performance.now()
        resolve()
        if (performance.now() - firstAt < SAME_SIGNAL_MS) return
        onSecond(signal)
        process.exit(1)
      })
    }
  })
}
