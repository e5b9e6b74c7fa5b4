//! How many threads a tensor operation of this process has.

/// One thread for each tensor operation, for as long as this lives; then as many as before.
#[derive(Debug)]
pub(crate) struct OneThread {
    before: i32,
}

impl OneThread {
    /// From here on.
    pub(crate) fn begin() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_threads_afterwards_as_before() {
        tch::set_num_threads(3);
        let one = OneThread::begin();
        assert_eq!(tch::get_num_threads(), 1);
        drop(one);
        assert_eq!(tch::get_num_threads(), 3);
    }
}
