/** The default engine's promise: what cannot be compiled is computed eagerly, and said. */
import type { BatchArray, NamedArrays, NamedTensors } from "./arrays.js";
import type { CompiledFunction } from "./compile.js";
import type { Engine, OnNote } from "./engine.js";
import type { Runner, StepFunction } from "./runner.js";
import { EngineUnavailable } from "./unavailable.js";

/**
 * An engine that computes with `first` until a graph of it is refused or fails, and with `second` from then on, whatever
 * it computes: one name says what runs. A training run goes on from the state before the step that failed.
 */
export function forgiving(
  first: Engine,
  second: (notes: readonly string[]) => Promise<Engine>,
  onNote: OnNote,
): Engine {
  let turned: Promise<Engine> | null = null;
  let now = first;

  /** Turns to the second engine where that is the answer to an error. */
  const turn = async (error: unknown): Promise<Engine> => {
    if (!(error instanceof EngineUnavailable)) throw error;
    if (!turned) {
      turned = second([error.message]);
      now = await turned;
      now.notes.forEach(onNote);
    }
    return turned;
  };
  const orTurn = async <T>(what: (engine: Engine) => Promise<T>): Promise<T> => {
    if (turned) return what(await turned);
    try {
      return await what(first);
    } catch (error) {
      return what(await turn(error));
    }
  };

  const runner = async (step: StepFunction, initial: NamedArrays): Promise<Runner> => {
    let by: Runner = await orTurn((engine) => engine.runner(step, initial));
    let mine: Engine = now;
    const follow = async (engine: Engine) => {
      if (mine === engine) return;
      const left = by;
      by = await engine.runner(step, await left.state());
      mine = engine;
      left.dispose();
    };
    return {
      async step(input, scalars) {
        if (turned) await follow(await turned);
        try {
          return await by.step(input, scalars);
        } catch (error) {
          if (mine !== first) throw error;
          await follow(await turn(error));
          return by.step(input, scalars);
        }
      },
      state: () => by.state(),
      dispose: () => by.dispose(),
    };
  };

  const prepare = async (
    f: (inputs: NamedTensors) => NamedTensors,
    example: Readonly<Record<string, BatchArray>>,
  ): Promise<CompiledFunction> => {
    let by = await orTurn((engine) => engine.prepare(f, example));
    let mine: Engine = now;
    return {
      async run(inputs) {
        try {
          return await by.run(inputs);
        } catch (error) {
          if (mine !== first) throw error;
          mine = await turn(error);
          await by.dispose();
          by = await mine.prepare(f, example);
          return by.run(inputs);
        }
      },
      dispose: () => by.dispose(),
    };
  };

  return {
    get name() {
      return now.name;
    },
    get description() {
      return now === first ? now.description : `${now.description}, turned to from ${first.description}`;
    },
    get notes() {
      return now.notes;
    },
    runner,
    prepare,
  };
}
