//! InCTRL in libtorch: a frozen backbone, in-context residuals between a query and a prompt set, a small head.
//!
//! The walk of a score:
//!
//! ```text
//! bytes --preprocess--> Pixels [3,S,S] --backbone--> Features {taps L x [B,N,C_l], class [B,D]}
//!   prompt set (K images) --prompts--> PromptFeatures {bank, class, text, leave-one-out context}
//!   Features x PromptFeatures --residual--> Residuals {map [B,N], ...} --head--> Scores
//! ```
//!
//! Invariants: no IO beyond files it is handed and libtorch's own libraries, no async, no clock, no network; a query's score does not depend
//! on the batch it travels in; everything after the backbone is float32.

pub mod allocator;
pub mod backbone;
pub mod calibration;
pub mod device;
pub mod head;
mod object_text;
pub mod openmp;
pub mod preprocess;
pub mod prompts;
pub mod residual;
pub mod scoring;
pub mod self_test;
pub mod tensors;
pub mod text_prompts;
pub mod tokenizer;

pub use backbone::{Backbone, BackboneError, BackboneInfo, Features, Precision};
pub use calibration::{Calibration, CalibrationError, Decision, NullScores, Threshold};
pub use head::{Head, HeadError, HeadKind, HeadMetadata, Scores};
pub use object_text::ObjectText;
pub use preprocess::{DecodedImage, ImageError, ImageLimits, Pixels, Preprocess};
pub use prompts::PromptFeatures;
pub use residual::Residuals;
pub use scoring::{MixedQuery, MixedScore, score_mixed};
pub use self_test::{SelfTest, SelfTestError};
pub use tch::Device;
pub use text_prompts::TextPrompts;
pub use tokenizer::{Tokenizer, VocabularyError};
