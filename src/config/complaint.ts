// Why a text cannot be what it stands for. The command line judges names and addresses with it, without loading YAML.

/** Why a text is not of a kind, as the rest of a sentence that begins with the key. */
export class Complaint {
  readonly sentence: string
  readonly hint: string | undefined

  constructor(sentence: string, hint?: string) {
    this.sentence = sentence
    this.hint = hint
  }
}
