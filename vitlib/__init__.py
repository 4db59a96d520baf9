"""vitlib: the Vision Transformer that the book Patchwork builds, in one small file for each concept.

A file imports only from files above it, and from those at the end. In reading order:

Images
    data        one form for labelled images; how they are split and normalised
    shapes      ten classes of drawn objects, with their masks
    decoding    one image file as a square of pixels
    folders     your own folder of images
    sources     where images come from: shapes, CIFAR-10, a folder
    augment     random changes to a batch of images, drawn for each image
Parts
    patches     an image cut into patches, and a token from each
    positions   codes that say where a token comes from
    attention   scaled dot-product attention, and several heads of it
    rotary      queries and keys turned by their places, or normalised
    pooling     an answer read off the tokens by a weighted mean
    resnet      a residual block of convolutions, and the network to compare with
    stems       convolutions in front of the encoder, in place of one cut
Model
    encoder     MLP, DropPath, LayerScale and the encoder block
    inputs      images and weights that a ViT cannot read
    vit         the Vision Transformer and its configuration
    windows     attention inside shifted windows: Swin's block
Training
    muon        momentum whose every step is made nearly orthogonal
    optim       optimisers, which parameters decay, the learning rate over time
    parallel    several processes that train as one
    modes       training mode, and what stays as it is in it
    guards      what cannot be trained, refused before the first step
    checkpoint  files to resume from, weights to share, records of runs; the zoo
    train       the loop
    distil      learning from a trained network beside the labels
    recipes     named models and trainings
Looking inside
    maps        attention maps, drawn and summed up
    explain     other answers to "what mattered?", which ask the model itself
    scores      how good such an answer is
    clinic      faults of public tutorials, to be planted one at a time
    arrays      what figures are drawn from, as arrays
    plots       the book's figures
    query_maps  maps that belong to one cell of a grid, with that cell outlined
    heatmaps    maps laid over the image that they came from
    effects     figures of what one change does
    sketch      boxes, arrows and words to draw with
    diagrams    the whole model, the block, the heads and a look-up, drawn
    answers     a model's probabilities beside the image they are about
    looking     how a soft look-up weighs its keys, and what a patch reads
Use
    hub         where published weights lie: a file, a folder, a hub
    families    what other libraries call the parts of a ViT
    published   published weights in our ViT
    transfer    what a trained model is worth on other images
    mae         patches hidden at random, and a decoder that fills them in
    mae_clinic  faults of masked autoencoders, to be planted one at a time
    pretrain    training without labels, and the features of every block
    lora        small matrices beside the trained ones, which learn another task
    adapters    such matrices in files of their own
    merging     tokens that are alike become one, so that later blocks do less
    pruning     which heads matter least, and the model without them
    early_exit  a head after every block, for images that need no more
    frozen      a frozen model's features, kept, and the best head on them
    photos      the parts of your folder, and what is set aside
    figures     what the commands below draw
    report      what a fine-tuning finds and is worth
    finetune    a trained model and your own images
    predicting  what a model says of image files
    comparing   what an exported file says, beside its model
    exporting   a model as one file for other programs
From a terminal
    commands    `finetune`, `predict` and `export`
    cli         `python -m vitlib COMMAND`
For all of them
    files       where files lie, and how they are written: whole or not at all
    settings    the types of a configuration's values
    devices     the machine: its memory, its processor, its graphics card
"""

__version__ = "0.1.0"
