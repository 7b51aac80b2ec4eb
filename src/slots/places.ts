// Where services are in the table. Each has a place, in the order of the config; behind them each that can be previewed has
// another one, whose pointer says what is in the idle slot: what is previewed is claimed and drained as all else is. Pure.
import type { ServiceConfig } from '../config/types.ts'

type Previewable = Pick<ServiceConfig, 'preview'>

export const countPlaces = (services: readonly Previewable[]): number =>
  services.length + services.filter(({ preview }) => preview).length

/** @returns for each service the place of its preview; null: it has none */
export function previewPlaces(services: readonly Previewable[]): (number | null)[] {
  let next = services.length
  return services.map(({ preview }) => (preview ? next++ : null))
}
