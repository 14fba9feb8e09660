import { InputError } from "../types.js";

/**
 * Says in one line why something cannot be compiled or run here: ONNX Runtime is missing, it rejects the graph, an
 * operation is not covered, a device is not there. Training's state is as it was, and the line ends with the way on.
 */
export class EngineUnavailable extends InputError {
  constructor(
    readonly reason: string,
    wayOn = "the eager engine (--engine eager) goes on without it",
  ) {
    super(`${reason}; ${wayOn}`);
  }
}
