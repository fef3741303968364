//! Objects and arrays: the row itself, STRUCT columns and lists, made of [`Column`]s.

use std::mem;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListArray, StructArray};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{FieldRef, Fields};
use jiter::{Jiter, Peek};

use super::column::{Column, Validity};
use super::wrong::Wrong;

/// A column and the constraints on its values.
struct Slot {
    name: String,
    nullable: bool,
    column: Box<dyn Column>,
}

impl Slot {
    fn new(field: &FieldRef, column: Box<dyn Column>) -> Self {
        Self { name: field.name().clone(), nullable: field.is_nullable(), column }
    }

    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        if peek == Peek::Null {
            json.known_null()?;
            return self.absent(false);
        }
        self.column.read(json, peek)
    }

    fn absent(&mut self, missing: bool) -> Result<(), Wrong> {
        if !self.nullable {
            return Err(Wrong::null(missing));
        }
        self.column.null();
        Ok(())
    }
}

/// The columns that the keys of an object fill.
pub(super) struct Object {
    slots: Vec<Slot>,
}

impl Object {
    /// An object whose fields fill these columns.
    pub(super) fn new(fields: &Fields, columns: Vec<Box<dyn Column>>) -> Self {
        Self { slots: fields.iter().zip(columns).map(|(field, column)| Slot::new(field, column)).collect() }
    }

    /// Reads an object as row number `row`. Keys without a column are skipped, and columns without a key are NULL. The
    /// last of duplicate keys counts; as in Arroyo, an earlier value may have any type.
    pub(super) fn read(&mut self, json: &mut Jiter<'_>, row: usize) -> Result<(), Wrong> {
        let mut expected = 0;
        // Values that do not fit. They are errors if the whole object is read and no later value replaced them.
        let mut misfits: Vec<(usize, Wrong)> = Vec::new();
        let mut key = json.known_object()?.map(|name| self.find(name, &mut expected));
        while let Some(slot) = key {
            let peek = json.peek()?;
            match slot.and_then(|index| Some((index, self.slots.get_mut(index)?))) {
                None => json.known_skip(peek)?,
                Some((index, slot)) => {
                    if slot.column.len() > row {
                        slot.column.truncate(row);
                    }
                    if !misfits.is_empty() {
                        misfits.retain(|(other, _)| *other != index);
                    }
                    let value = json.clone();
                    if let Err(wrong) = slot.read(json, peek) {
                        if wrong.is_syntax() {
                            return Err(wrong);
                        }
                        slot.column.truncate(row);
                        misfits.push((index, wrong.inside(&slot.name)));
                        *json = value;
                        json.known_skip(peek)?;
                    }
                }
            }
            key = json.next_key()?.map(|name| self.find(name, &mut expected));
        }
        if !misfits.is_empty() {
            return Err(misfits.swap_remove(0).1);
        }
        for slot in &mut self.slots {
            if slot.column.len() == row {
                slot.absent(true).map_err(|wrong| wrong.inside(&slot.name))?;
            }
        }
        Ok(())
    }

    /// Keys are mostly in the order of the columns, so the search starts after the last column found.
    fn find(&self, name: &str, expected: &mut usize) -> Option<usize> {
        let count = self.slots.len();
        let index = (0..count).map(|i| (*expected + i) % count).find(|i| self.slots[*i].name == name)?;
        *expected = index + 1;
        Some(index)
    }

    pub(super) fn truncate(&mut self, len: usize) {
        for slot in &mut self.slots {
            slot.column.truncate(len);
        }
    }

    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.slots.iter_mut().map(|slot| slot.column.finish()).collect()
    }
}

/// STRUCT.
pub(super) struct StructColumn {
    fields: Fields,
    object: Object,
    validity: Validity,
}

impl StructColumn {
    pub(super) fn new(fields: &Fields, columns: Vec<Box<dyn Column>>) -> Self {
        Self { fields: fields.clone(), object: Object::new(fields, columns), validity: Validity::new() }
    }
}

impl Column for StructColumn {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        if peek != Peek::Object {
            return Err(Wrong::type_of_next(json, peek, "a STRUCT"));
        }
        self.object.read(json, self.validity.len())?;
        self.validity.push(true);
        Ok(())
    }

    fn null(&mut self) {
        for slot in &mut self.object.slots {
            slot.column.null();
        }
        self.validity.push(false);
    }

    fn len(&self) -> usize {
        self.validity.len()
    }

    fn truncate(&mut self, len: usize) {
        self.object.truncate(len);
        self.validity.truncate(len);
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(StructArray::new(self.fields.clone(), self.object.finish(), self.validity.finish()))
    }
}

/// A list.
pub(super) struct ListColumn {
    item: FieldRef,
    slot: Slot,
    offsets: Vec<i32>,
    validity: Validity,
}

impl ListColumn {
    pub(super) fn new(item: &FieldRef, column: Box<dyn Column>) -> Self {
        Self { item: Arc::clone(item), slot: Slot::new(item, column), offsets: vec![0], validity: Validity::new() }
    }
}

impl Column for ListColumn {
    fn read(&mut self, json: &mut Jiter<'_>, peek: Peek) -> Result<(), Wrong> {
        if peek != Peek::Array {
            return Err(Wrong::type_of_next(json, peek, "a list"));
        }
        let mut next = json.known_array()?;
        let mut index = 0;
        while let Some(peek) = next {
            index += 1;
            self.slot.read(json, peek).map_err(|wrong| wrong.inside(&format!("[{index}]")))?;
            next = json.array_step()?;
        }
        self.offsets.push(i32::try_from(self.slot.column.len()).map_err(|_| Wrong::too_much())?);
        self.validity.push(true);
        Ok(())
    }

    fn null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.validity.push(false);
    }

    fn len(&self) -> usize {
        self.validity.len()
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.validity.truncate(len);
        // Items of an unfinished list are removed too.
        self.slot.column.truncate(self.offsets.last().map_or(0, |o| usize::try_from(*o).unwrap_or(0)));
    }

    fn finish(&mut self) -> ArrayRef {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(mem::replace(&mut self.offsets, vec![0])));
        let items = self.slot.column.finish();
        debug_assert_eq!(items.len(), offsets.last().map_or(0, |o| usize::try_from(*o).unwrap_or(0)));
        Arc::new(ListArray::new(Arc::clone(&self.item), offsets, items, self.validity.finish()))
    }
}
