import { InputError } from "../types.js";

/**
 * Says in one line why something cannot be compiled here: ONNX Runtime is missing, it rejects the graph, or an operation
 * is not covered. Nothing has changed by then, and the eager engine is the way on.
 */
export class EngineUnavailable extends InputError {
  constructor(reason: string) {
    super(`${reason}; the eager engine (--engine eager) goes on without it`);
  }
}
