// What testdata/changes does, with the TypeScript kit.

import { Checkpoint, Destination, Failure, Info, Landing, Open, Table, WriteBatch, registerDestination } from "../../../../pdk/typescript/assembly";
export * from "../../../../pdk/typescript/assembly/destination_exports";

class Changes extends Destination {
  open(o: Open, info: Info): Failure | null {
    info.driver = "none";
    return null;
  }

  plan(table: Table): Landing {
    return new Landing("t");
  }

  write(table: Landing, batch: WriteBatch): Failure | null {
    return new Failure(batch.isChange() ? "a change" : batch.isTruncate() ? "a truncate" : "neither");
  }

  commit(entries: Checkpoint[]): Failure | null { return null; }
  checkpoint(into: Checkpoint[]): Failure | null { return null; }
  rollback(): Failure | null { return null; }
  close(): Failure | null { return null; }
}

registerDestination(new Changes());
