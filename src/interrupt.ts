/**
 * Interrupting long work in a notebook. Jupyter's ■ sends SIGINT to the kernel; tslab then stops waiting for the cell, while
 * what the cell started goes on in the background. So work that takes steps has to listen too, and leave between two steps.
 */

/** SIGINT, taken over from whoever listened before. */
export interface Interrupt {
  /** Whether SIGINT came since. */
  readonly asked: boolean;
  /** Gives SIGINT back. May be called again. */
  release(): void;
}

/**
 * Takes SIGINT over until `release`: the first one is only noted, so that work can stop in order and a cell keeps what it
 * has; a second one goes to those who listened before (in a notebook tslab, which gives the cell up; otherwise it ends the
 * process).
 *
 * It waits a turn first. tslab runs the synchronous part of a cell with `breakOnSigint`, during which Node puts all listeners
 * aside; one that is added there is cut off from the signal, and the next interrupt ends the process.
 */
export async function holdInterrupt(): Promise<Interrupt> {
  await null;
  const others = process.listeners("SIGINT") as NodeJS.SignalsListener[];
  let asked = false;
  let held = true;
  const release = () => {
    if (!held) return;
    held = false;
    for (const other of others) process.on("SIGINT", other);
    process.off("SIGINT", onSignal);
  };
  const onSignal = () => {
    if (!asked) {
      asked = true;
      return;
    }
    release();
    process.kill(process.pid, "SIGINT");
  };
  process.on("SIGINT", onSignal); // before the others go: a signal that nobody listens to ends the process
  for (const other of others) process.off("SIGINT", other);
  return {
    get asked() {
      return asked;
    },
    release,
  };
}

/**
 * The same events, until they end or an interrupt comes: then it returns after the event at hand, and closes the events,
 * which frees (and in `pretrain` saves) what they hold.
 *
 * @returns what the events return, or undefined after an interrupt
 */
export async function* untilInterrupted<T, R>(
  events: AsyncGenerator<T, R, void>,
): AsyncGenerator<T, R | undefined, void> {
  const interrupt = await holdInterrupt();
  try {
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      yield next.value;
      if (interrupt.asked) return undefined;
    }
  } finally {
    try {
      await events.return(undefined as never);
    } finally {
      interrupt.release();
    }
  }
}
