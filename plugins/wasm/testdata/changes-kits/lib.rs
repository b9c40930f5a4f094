//! What testdata/changes does, with the Rust kit.

use leat::{Checkpoint, Destination, Failure, Info, Landing, Open, Table, WriteBatch};

#[derive(Default)]
struct Changes;

impl Destination for Changes {
    type State = ();

    fn open(&mut self, _: &Open) -> Result<Info, Failure> {
        Ok(Info { driver: "none".into(), ..Info::default() })
    }

    fn plan(&mut self, _: &Table) -> Result<(Landing, ()), Failure> {
        Ok((Landing { table: "t".into(), ..Landing::default() }, ()))
    }

    fn write(&mut self, _: &(), b: &WriteBatch) -> Result<(), Failure> {
        Err(Failure::new(if b.is_change() {
            "a change"
        } else if b.is_truncate() {
            "a truncate"
        } else {
            "neither"
        }))
    }

    fn commit(&mut self, _: &[Checkpoint]) -> Result<(), Failure> {
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Vec<Checkpoint>, Failure> {
        Ok(Vec::new())
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

leat::destination!(Changes);
