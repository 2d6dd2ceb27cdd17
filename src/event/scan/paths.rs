//! The places to look at, compiled into a tree of steps.

use std::ops::Range;

use super::Text;

/// JSON pointers, compiled. Nodes name one another by their place in `nodes`, and nothing is ever removed.
#[derive(Debug, Clone)]
pub(in crate::event) struct Paths {
    nodes: Vec<Node>,
    len: usize,
}

/// A place that some pointer names or leads through.
#[derive(Debug, Clone)]
struct Node {
    /// The key that leads here from the parent.
    key: String,
    /// The same as the index of an array's element.
    index: Option<usize>,
    children: Vec<usize>,
    /// Where the value found here goes.
    slot: Option<usize>,
    /// The slots of this node and of all below it.
    slots: Range<usize>,
}

impl Paths {
    /// The node of the whole text.
    pub(super) const ROOT: usize = 0;

    /// Compiles pointers, each given as its unescaped steps; also says which slot each of them has.
    pub fn new<'s>(pointers: impl IntoIterator<Item = &'s [String]>) -> (Paths, Vec<usize>) {
        let mut paths = Paths { nodes: vec![Node::new("")], len: 0 };
        let ends: Vec<usize> = pointers.into_iter().map(|pointer| paths.add(pointer)).collect();
        paths.number(Paths::ROOT);
        let slots = ends.into_iter().filter_map(|node| paths.slot(node)).collect();
        (paths, slots)
    }

    fn add(&mut self, pointer: &[String]) -> usize {
        let mut node = Paths::ROOT;
        for step in pointer {
            let known = self.nodes[node]
                .children
                .iter()
                .copied()
                .find(|child| self.nodes[*child].key == *step);
            node = known.unwrap_or_else(|| {
                let child = self.nodes.len();
                self.nodes.push(Node::new(step));
                self.nodes[node].children.push(child);
                child
            });
        }
        // Which slot it is, is not known before all pointers are.
        self.nodes[node].slot = Some(0);
        node
    }

    /// Numbers the slots so that those below a node follow its own. Recurses as deep as the longest pointer.
    fn number(&mut self, node: usize) {
        let start = self.len;
        if let Some(slot) = &mut self.nodes[node].slot {
            *slot = start;
            self.len += 1;
        }
        for child in self.nodes[node].children.clone() {
            self.number(child);
        }
        self.nodes[node].slots = start..self.len;
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn slot(&self, node: usize) -> Option<usize> {
        self.nodes[node].slot
    }

    pub(super) fn slots(&self, node: usize) -> Range<usize> {
        self.nodes[node].slots.clone()
    }

    /// The node below `node` that an object's key leads to.
    pub(super) fn member(&self, node: usize, key: &Text<'_>) -> Option<usize> {
        self.nodes[node].children.iter().copied().find(|child| key.is(&self.nodes[*child].key))
    }

    /// The node below `node` that an array's index leads to.
    pub(super) fn element(&self, node: usize, index: usize) -> Option<usize> {
        self.nodes[node]
            .children
            .iter()
            .copied()
            .find(|child| self.nodes[*child].index == Some(index))
    }
}

impl Node {
    fn new(key: &str) -> Node {
        let canonical = key == "0" || key.starts_with(|first: char| matches!(first, '1'..='9'));
        let index = if canonical { key.parse().ok() } else { None };
        Node { key: key.to_owned(), index, children: Vec::new(), slot: None, slots: 0..0 }
    }
}
